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
    ("rows.jsonl", json.dumps(ROWS).encode(), "rows.jsonl:1", "not a list", ""),
    ("rows.jsonl", broken().encode(), "rows.jsonl:5", "invalid JSON", ""),
    ("rows.csv", b"", "rows.csv", "there are no rows", "the file is empty"),
    ("rows.jsonl", b"", "rows.jsonl", "there are no rows", "the file is empty"),
    ("rows.csv", b"subject,body,queue\n", "rows.csv", "there are no rows", "has only a header"),
    ("rows.csv", table(";").encode("utf-8-sig"), "rows.csv:1", "separated by ';'", "commas"),
    ("rows.csv", table().encode("utf-16"), "rows.csv:1", "UTF-16, not UTF-8", "iconv -f utf-16"),
    ("rows.csv", table().encode("latin1"), "rows.csv:2", "not UTF-8", "iconv -f latin1"),
    ("rows.csv", misspelt().encode(), "rows.csv:2", "'biling'", "did you mean 'billing'?"),
    ("rows.csv", misspelt().encode(), "rows.csv:3", "'Technical'", "did you mean 'technical'?"),
    ("rows.txt", b"Ticket 1", "rows.txt:1", "'prompt' of the task", "the columns are text"),
    ("rows.xlsx", b"PK\x03\x04", "rows.xlsx", "kind .xlsx are not supported", "CSV UTF-8"),
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


def test_folders_as_labels(show: Any) -> None:
    for label in QUEUES[:2]:
        Path("bylabel", label).mkdir(parents=True)
        Path("bylabel", label, "0.txt").write_text("Ticket")
    outcome = show("bylabel")
    assert outcome.code == DataError.exit_code
    assert "only subfolders, which are not read: 'billing', 'technical'" in outcome.err
    assert "a column for the text and one for the label" in outcome.err


def test_a_template_with_a_column_that_is_not_there(show: Any) -> None:
    Path("rows.csv").write_text(table(), encoding="utf-8")
    outcome = show("rows.csv", "wrong-column")
    assert outcome.code == DataError.exit_code
    assert "error: 'prompt' of the task 'tickets' needs the column 'text'" in outcome.err
    assert "at: rows.csv:2; rows.csv:3; rows.csv:4 and 21 more (24 places)" in outcome.err
    assert "the columns are subject, body, queue" in outcome.err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.json", json.dumps(ROWS).encode()),
        ("rows.json", json.dumps({"data": ROWS}).encode()),
        ("rows.csv", table().encode("utf-8-sig")),
        ("rows.tsv", table("\t").replace('"', "").encode()),
    ],
)
def test_files_that_are_right_in_another_way(name: str, content: bytes, show: Any) -> None:
    Path(name).write_bytes(content)
    outcome = show(name)
    assert outcome.code == 0, outcome.err
