"""Tables with any delimiter are read back as they were written."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.core.errors import DataError
from luthier.core.row import Row
from luthier.data.delimited import DELIMITERS, find_delimiter, read_csv
from luthier.data.problems import RaiseProblems

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_ ]{0,8}[A-Za-z0-9]", fullmatch=True)
# Control characters are no text, and csv.writer gives a carriage return back as a line feed.
CELLS = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), whitelist_characters="\n"), max_size=20
)
TEXTS = st.one_of(CELLS, st.sampled_from(["1,5", "a;b", "x\ty", "p|q", '"', '""', "a, b; c | d"]))


@st.composite
def tables(draw: st.DrawFn, least: int = 1) -> tuple[list[str], list[list[str]]]:
    names = draw(st.lists(NAMES, min_size=least, max_size=5, unique_by=str.strip))
    row = st.lists(TEXTS, min_size=len(names), max_size=len(names))
    return names, draw(st.lists(row, max_size=8))


def read(path: Path) -> tuple[list[Row], tuple[str, ...]]:
    problems = RaiseProblems()
    rows = list(read_csv(path, path.name, problems))
    problems.finish()
    return rows, problems.notes


def written(text: str, tmp: Path) -> Path:
    path = tmp / "table.csv"
    path.write_bytes(text.encode())
    return path


@settings(max_examples=150, deadline=None)
@given(tables(), st.sampled_from(DELIMITERS), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_what_a_writer_wrote_is_read_back(
    table: tuple[list[str], list[list[str]]], delimiter: str, quoting: int
) -> None:
    names, rows = table
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([names, *rows])
    with tempfile.TemporaryDirectory() as folder:
        found, _ = read(written(out.getvalue(), Path(folder)))
    kept = [row for row in rows if len(row) > 1 or row[0].strip()]
    assert [list(row.values.values()) for row in found] == kept
    if found:
        assert list(found[0].values) == [name.strip() for name in names]


@pytest.mark.parametrize(
    ("lines", "delimiter"),
    [
        (["a;b\n", "1,5;2,5\n", "1,7;2,7\n"], ";"),
        (["a,b\n", "x;y,z\n"], ","),
        (["a|b\n", "1|2\n"], "|"),
        (['"a,x";b\n', "1;2\n"], ";"),
        (["price, EUR;name;city\n", "1,5;a;b\n", "2;c;d\n"], ";"),
        (["a,b\n", '"x\n', 'y",2\n'], ","),
        (["a,b\n"], ","),
        (["a,b;c\n"], ","),
    ],
)
def test_the_delimiter(lines: list[str], delimiter: str) -> None:
    assert find_delimiter(lines, is_whole=True) == delimiter


def test_a_sample_that_ends_within_a_cell() -> None:
    lines = ["a;b\n", *["1,5;2\n"] * 50, '3;"open, \n']
    assert find_delimiter(lines, is_whole=False) == ";"


def test_one_column_is_not_divided(tmp_path: Path) -> None:
    rows, notes = read(written('text\nHello, you; there\n"quoted, ""cell"""\nplain\n', tmp_path))
    assert [row.values["text"] for row in rows] == ["Hello, you; there", 'quoted, "cell"', "plain"]
    assert [row.where for row in rows] == ["table.csv:2", "table.csv:3", "table.csv:4"]
    assert notes == (
        "the header of table.csv has one column, so lines with commas are one cell each, such as "
        "table.csv:2",
    )


def test_excel_names_the_delimiter_in_the_first_line(tmp_path: Path) -> None:
    rows, _ = read(written("sep=;\r\na;b\r\n1,2;3,4\r\n", tmp_path))
    assert [(row.values, row.where) for row in rows] == [({"a": "1,2", "b": "3,4"}, "table.csv:3")]


def test_a_row_that_does_not_fit_is_named_whatever_the_delimiter(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"table\.csv:3: the row has 3 cells, but the header has 2"):
        read(written("a;b\n1;2\n1;2;3\n4;5\n6;7\n", tmp_path))
