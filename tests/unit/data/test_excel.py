"""Excel workbooks are read as the CSV files that Excel would save."""

from __future__ import annotations

import datetime
import gzip
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from luthier.core.errors import DataError
from luthier.core.row import Row
from luthier.data import budget
from luthier.data.excel import read_excel
from luthier.data.problems import RaiseProblems


def book(*rows: list[Any], more: tuple[str, ...] = (), hidden: bool = False) -> bytes:
    made = openpyxl.Workbook()
    sheet = made.active
    assert sheet is not None
    sheet.title = "Tickets"
    for row in rows:
        sheet.append(row)
    for name in more:
        made.create_sheet(name).append(["x"])
    if hidden:
        made.create_sheet("Secret", 0).sheet_state = "hidden"
    stream = io.BytesIO()
    made.save(stream)
    return stream.getvalue()


def read(path: Path, content: bytes) -> tuple[list[Row], tuple[str, ...]]:
    path.write_bytes(content)
    problems = RaiseProblems()
    rows = list(read_excel(path, path.name, problems))
    problems.finish()
    return rows, problems.notes


def test_cells_are_texts(tmp_path: Path) -> None:
    day, moment = datetime.datetime(2024, 2, 29), datetime.datetime(2024, 2, 29, 13, 30)
    rows, notes = read(
        tmp_path / "a.xlsx",
        book([], ["n", "share", "yes", "day", "at", "text"], [3, 2.5, True, day, moment, "ü, 💸"]),
    )
    assert notes == ()
    assert rows == [
        Row(
            {
                "n": "3",
                "share": "2.5",
                "yes": "TRUE",
                "day": "2024-02-29",
                "at": "2024-02-29T13:30:00",
                "text": "ü, 💸",
            },
            "a.xlsx row 3",
        )
    ]


def test_missing_cells_are_empty_and_blank_rows_are_none(tmp_path: Path) -> None:
    rows, _ = read(tmp_path / "a.xlsx", book(["a", "b"], [None, "x"], [None, None], ["y"]))
    assert [(row.values, row.where) for row in rows] == [
        ({"a": "", "b": "x"}, "a.xlsx row 2"),
        ({"a": "y", "b": ""}, "a.xlsx row 4"),
    ]


def test_a_packed_workbook(tmp_path: Path) -> None:
    rows, _ = read(tmp_path / "a.xlsx.gz", gzip.compress(book(["a"], ["x"])))
    assert [row.values for row in rows] == [{"a": "x"}]


def test_the_first_visible_sheet_is_read_and_others_are_named(tmp_path: Path) -> None:
    rows, notes = read(tmp_path / "a.xlsx", book(["a"], ["x"], more=("Old", "New"), hidden=True))
    assert [row.values for row in rows] == [{"a": "x"}]
    said = "a.xlsx: sheet 'Tickets' is read, and not 'Old', 'New'; to read another, save it as CSV"
    assert notes == (said,)


@pytest.mark.parametrize(
    "cover", [[], [["Reports of 2026"], ["As of 1 December"]], [["text", "label"]]]
)
def test_a_cover_page_is_passed_over(tmp_path: Path, cover: list[list[str]]) -> None:
    made = openpyxl.load_workbook(io.BytesIO(book(["text", "label"], ["x", "y"])))
    first = made.create_sheet("Cover", 0)
    for row in cover:
        first.append(row)
    stream = io.BytesIO()
    made.save(stream)
    rows, (note,) = read(tmp_path / "a.xlsx", stream.getvalue())
    assert [row.values for row in rows] == [{"text": "x", "label": "y"}]
    assert "sheet 'Tickets' is read, and not 'Cover'" in note


def test_a_cell_without_a_column(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.xlsx row 3: the row has 3 cells"):
        read(tmp_path / "a.xlsx", book(["a", "b"], ["x", "y"], ["x", "y", "z"]))


def _bomb() -> bytes:
    """Shared strings of 64 MiB in a small file."""
    whole = io.BytesIO(book(["a"], ["x"]))
    made = io.BytesIO()
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
        new.writestr("xl/media/image.bin", b"0" * 2**26)
    return made.getvalue()


def _repeated() -> bytes:
    """One long text in many cells, which takes a few bytes in each."""
    return book(["a"], *[["long " * 6_000]] * 200)


@pytest.mark.parametrize("make", [_bomb, _repeated])
def test_a_bomb(tmp_path: Path, make: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "FREE_BYTES", 2**20)
    monkeypatch.setattr(budget, "MAX_RATIO", 2)
    with pytest.raises(DataError, match="decompression bomb"):
        read(tmp_path / "a.xlsx", make())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK dummy", "not an Excel workbook, although its name says so"),
        (b"a,b\n1,2\n", "not an Excel workbook"),
        (b"", "not an Excel workbook"),
        (b"\xd0\xcf\x11\xe0" + bytes(500), "an old Excel file (.xls), or a workbook with"),
        (book(["a"], ["x"])[:-300], "not an Excel workbook"),
    ],
)
def test_what_only_has_the_name(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a.xlsx", content)
    assert says in caught.value.problem
    assert caught.value.where == "a.xlsx"
    assert "CSV UTF-8" in caught.value.fix


def _without(member: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book(["a"], ["x"]))) as old, zipfile.ZipFile(made, "w") as new:
        for each in old.infolist():
            if each.filename != member:
                new.writestr(each.filename, old.read(each))
    return made.getvalue()


@pytest.mark.parametrize(
    "member", ["xl/workbook.xml", "xl/worksheets/sheet1.xml", "[Content_Types].xml"]
)
def test_a_damaged_workbook(tmp_path: Path, member: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a.xlsx", _without(member))
    assert "a.xlsx" in caught.value.where


@pytest.mark.parametrize("formula", ["=1+1", "=cmd|'/c calc'!A1", '=IF(A1="","",1)'])
@pytest.mark.parametrize("place", [0, 1])
def test_a_formula_without_a_value_is_no_empty_cell(
    tmp_path: Path, formula: str, place: int
) -> None:
    row = ["x", "y"]
    row[place] = formula
    content = book(["text", "label"], ["a", "b"], row, [formula, formula], ["c", "d"])
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a.xlsx", content)
    told = str(caught.value)
    assert f"a.xlsx row 3: the formula in cell {'AB'[place]}3 has no stored value" in told
    assert "a.xlsx row 4" in told
    with pytest.raises(DataError, match="row 1: the formula in cell"):
        read(tmp_path / "a.xlsx", book(row, ["a", "b"]))


@pytest.mark.parametrize(
    ("stored", "read_as"), [("<v>2</v>", "2"), ("T<v></v>", ""), ("T<v>ab</v>", "ab")]
)
def test_a_formula_has_the_value_that_was_stored(tmp_path: Path, stored: str, read_as: str) -> None:
    made = zipfile.ZipFile(io.BytesIO(book(["text", "label"], ["a", "=1+1"], ["c", "d"])))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in made.namelist():
            text = made.read(name)
            if name == "xl/worksheets/sheet1.xml":
                kind = b' t="str"' if stored.startswith("T") else b""
                whole = re.compile(rb'<c r="B2"[^>]*><f>1\+1</f>(<v */>|<v></v>)</c>')
                cell = b'<c r="B2"%s><f>1+1</f>%s</c>' % (kind, stored.lstrip("T").encode())
                text, count = whole.subn(cell, text)
                assert count == 1
            archive.writestr(name, text)
    rows, _ = read(tmp_path / "a.xlsx", out.getvalue())
    assert [row.values["label"] for row in rows] == [read_as, "d"]
