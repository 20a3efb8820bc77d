"""A file of one's own with a mistake in it: the error says what, where, and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import DataError

Call = Callable[..., Any]
QUEUES = ("billing", "technical", "account", "shipping")
ROWS = [
    {"subject": f"Ticket {n}", "body": f"Grüße, it is about {n}.", "queue": QUEUES[n % 4]}
    for n in range(24)
]


def table(separator: str = ",") -> str:
    lines = [separator.join(ROWS[0]), *(separator.join(f'"{v}"' for v in r.values()) for r in ROWS)]
    return "\n".join(lines) + "\n"


def misspelt() -> str:
    return table().replace('"billing"', '"biling"', 1).replace('"technical"', '"Technical"', 1)


def broken() -> str:
    lines = [json.dumps(row) for row in ROWS]
    return "\n".join([*lines[:4], lines[4][:-9], *lines[5:]])


WRONG: list[tuple[str, bytes, str, str, str]] = [
    ("rows.jsonl", broken().encode(), "rows.jsonl:5", "invalid JSON", ""),
    ("rows.csv", b"", "rows.csv", "there are no rows", "the file is empty"),
    ("rows.jsonl", b"", "rows.jsonl", "there are no rows", "the file is empty"),
    ("rows.csv", b"subject,body,queue\n", "rows.csv", "there are no rows", "has only a header"),
    ("rows.csv", misspelt().encode(), "rows.csv:2", "'biling'", "did you mean 'billing'?"),
    ("rows.csv", misspelt().encode(), "rows.csv:3", "'Technical'", "did you mean 'technical'?"),
    ("rows.txt", b"Ticket 1", "rows.txt:1", "'prompt' of the task", "the columns are text"),
    ("rows.xlsx", b"PK\x03\x04", "rows.xlsx", "not an Excel workbook", "CSV UTF-8"),
    ("rows.xls", b"\xd0\xcf\x11\xe0", "rows.xls", "kind .xls are not supported", ".xlsx"),
]


@pytest.fixture
def show(call: Call, inputs: Path, tiny_llama: Path, in_tmp_path: Path) -> Any:
    def data_show(source: str, template: str = "tickets") -> Any:
        arguments = ("--model", str(tiny_llama), "--data", source)
        named = str(inputs / f"tickets/{template}.yaml")
        return call("data", "show", *arguments, "--template", named)

    return data_show


@pytest.mark.parametrize(("name", "content", "place", "says", "advice"), WRONG)
def test_a_wrong_file(
    name: str, content: bytes, place: str, says: str, advice: str, show: Any
) -> None:
    Path(name).write_bytes(content)
    outcome = show(name)
    assert outcome.code == DataError.exit_code
    assert "Traceback" not in outcome.err
    for words in (place, says, advice):
        assert words in outcome.err


LIST = json.dumps(ROWS)
READ: list[tuple[str, bytes, str]] = [
    ("rows.jsonl", LIST.encode(), ""),
    ("rows.jsonl", json.dumps(ROWS, indent=1).encode(), ""),
    ("rows.ndjson", "\n".join(map(json.dumps, ROWS)).encode(), ""),
    ("rows.json", "\n".join(map(json.dumps, ROWS)).encode(), ""),
    ("rows.json", json.dumps({"data": ROWS}).encode(), ""),
    ("rows.json", json.dumps({"version": "2", "tickets": ROWS}).encode(), ""),
    ("rows.csv", table().encode("utf-8-sig"), ""),
    ("rows.tsv", table("\t").replace('"', "").encode(), ""),
    ("rows.csv", table(";").encode("utf-8-sig"), ""),
    ("rows.csv", table("\t").encode("utf-16"), ""),
    ("rows.csv", table("|").encode(), ""),
    ("rows.csv", ("sep=;\n" + table(";")).encode(), ""),
    ("rows.tsv", table(";").encode(), "no tabs in its header"),
    ("rows.csv", b"\xff\xfe" + table().encode("utf-16-le"), ""),
    ("rows.csv", table().encode("latin1"), "first on line 2: 'Grüße'"),
]


def test_a_template_with_a_column_that_is_not_there(show: Any) -> None:
    Path("rows.csv").write_text(table(), encoding="utf-8")
    outcome = show("rows.csv", "wrong-column")
    assert outcome.code == DataError.exit_code
    assert "error: 'prompt' of the task 'tickets' needs the column 'text'" in outcome.err
    assert "at: rows.csv:2; rows.csv:3; rows.csv:4 and 21 more (24 places)" in outcome.err
    assert "the columns are subject, body, queue" in outcome.err


@pytest.mark.parametrize(("name", "content", "warns"), READ)
def test_a_file_of_another_shape_is_read(name: str, content: bytes, warns: str, show: Any) -> None:
    Path(name).write_bytes(content)
    outcome = show(name)
    assert outcome.code == 0, outcome.err
    assert "Grüße, it is about" in outcome.out
    assert (warns in outcome.err) if warns else ("not UTF-8" not in outcome.err)


def test_folders_as_labels(call: Call, tiny_llama: Path, in_tmp_path: Path) -> None:
    for n, row in enumerate(ROWS):
        Path("bylabel", row["queue"]).mkdir(parents=True, exist_ok=True)
        Path("bylabel", row["queue"], f"{n}.txt").write_text(row["body"], encoding="utf-8")
    outcome = call("data", "show", "bylabel", "--model", str(tiny_llama))
    assert outcome.code == 0, outcome.err
    assert "one is drafted: text → label" in outcome.err
    assert "luthier init bylabel" in outcome.err


def test_lines_that_are_one_row_are_named(call: Call, in_tmp_path: Path) -> None:
    Path("rows.txt").write_text("".join(f"ticket {n}\n" for n in range(30)))
    outcome = call("init", "rows.txt")
    assert outcome.code == DataError.exit_code
    assert "the 30 lines of rows.txt are one row" in outcome.err
    assert "save it as .csv" in outcome.err


def test_labels_among_completions_become_choices(call: Call, in_tmp_path: Path) -> None:
    pairs = [{"prompt": row["body"], "completion": row["queue"]} for row in ROWS]
    Path("pc.jsonl").write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")
    outcome = call("init", "pc.jsonl", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.document["label"] == "completion"
    assert len(outcome.document["classes"]) == len(QUEUES)


def test_a_task_of_an_unknown_kind_is_given_as_a_task(call: Call, in_tmp_path: Path) -> None:
    Path("task.yaml").write_text("kind: classify\ninput: '{{ x }}'\nlabel: '{{ y }}'\n")
    outcome = call("data", "show", "task.yaml")
    assert outcome.code == DataError.exit_code
    assert "'classify' is no kind of task" in outcome.err
    assert "task.yaml:1" in outcome.err
