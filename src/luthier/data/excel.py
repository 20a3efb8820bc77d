"""Rows of Excel workbooks (.xlsx), within a memory budget.

A workbook is a zip file of XML. A sheet is read as the CSV file that Excel would save: every cell
is a text.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, datetime, time
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from luthier.core.errors import DataError
from luthier.core.names import listed, named
from luthier.core.row import Row
from luthier.core.units import counted
from luthier.core.untrusted import reading_foreign
from luthier.data.budget import OBJECT_BYTES, VALUE_BYTES, Budget
from luthier.data.bytestream import ZIP_MARK, open_bytes
from luthier.data.columns import named_columns
from luthier.data.problems import Problems

_OLE_MARK = b"\xd0\xcf\x11\xe0"
"""The first bytes of old .xls files and of workbooks with a password."""
_WORKBOOK = "xl/workbook.xml"
_SAVE = 'open it in a spreadsheet program and save the sheet as .xlsx or "CSV UTF-8"'
_POINTER_BYTES = 8
_FORMULA = re.compile(rb"<(\w+:)?f[\s/>]")
_BLOCK, _OVERLAP = 1 << 20, 64
_TRUSTED = "if you trust the file, save the sheet as CSV"


def read_excel(path: Path, name: str, problems: Problems) -> Iterator[Row]:
    """The rows of a sheet of a workbook; its first row that is not empty is the header.

    The sheet is the first visible one that holds a table, so cover pages are passed over: two
    columns and a row below the header. Without a table it is the first visible one.

    Numbers are texts as Python prints them, dates are in ISO format, and a formula has the value
    that was stored with it.

    Raises:
        DataError: openpyxl is not installed, the file is no workbook, its header is unusable, or it
            would become far larger in memory than on disk.
    """
    budget = Budget(path.stat().st_size, _TRUSTED)
    with open_bytes(path, name) as stream:
        content = stream if path.suffix != ".gz" else io.BytesIO(stream.read())
        _require_workbook(content, name, budget)
        with _sheet(content, name, problems, budget) as sheet:
            yield from _rows(sheet, name, problems, budget, _not_calculated(content, sheet, name))


def _require_workbook(content: BinaryIO, name: str, budget: Budget) -> None:
    """Refuse a file that only has the name of a workbook, and one that unpacks to too much.

    Python's zip files give no more bytes than a member declares.
    """
    start = content.read(len(ZIP_MARK))
    content.seek(0)
    if start == _OLE_MARK:
        problem = "this is an old Excel file (.xls), or a workbook with a password"
        raise DataError(problem, where=name, fix=_SAVE)
    try:
        with zipfile.ZipFile(content) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise DataError(
            f"this is not an Excel workbook, although its name says so: {error}",
            where=name,
            fix=f"{_SAVE}; or give the file the suffix of its kind, such as .csv",
        ) from None
    if _WORKBOOK not in {member.filename for member in members}:
        raise DataError("this zip file holds no Excel workbook", where=name, fix=_SAVE)
    budget.allow(sum(member.file_size for member in members))


@contextmanager
def _sheet(content: BinaryIO, name: str, problems: Problems, budget: Budget) -> Iterator[Any]:
    """The first visible sheet with a table, which reads rows one at a time."""
    try:
        import openpyxl
    except ImportError:
        raise DataError(
            "reading Excel files needs openpyxl, which is not installed",
            where=name,
            fix="run: pip install 'luthier[excel]'; or save the sheet as CSV",
        ) from None
    with reading_foreign("this workbook cannot be read", name, _SAVE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on styles and forms that are not read
        book = openpyxl.load_workbook(content, read_only=True, data_only=True, keep_links=False)
    try:
        sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
        if not sheets:
            raise DataError("the workbook has no visible sheet", where=name, fix=_SAVE)
        chosen = sheets[0]
        if len(sheets) > 1:
            chosen = next((each for each in sheets if _is_table(each, name, budget)), chosen)
            others = listed((sheet.title for sheet in sheets if sheet is not chosen), show=named)
            problems.note(
                f"{name}: sheet {named(chosen.title)} is read, and not {others}; to read another, "
                "save it as CSV"
            )
        yield chosen
    finally:
        book.close()


def _is_table(sheet: Any, name: str, budget: Budget) -> bool:
    """Whether a sheet starts with a header of two columns or more and has a row below it."""
    first = list(islice(_cells(sheet, name, budget, {}), 2))
    return len(first) == 2 and sum(bool(cell.strip()) for cell in first[0][1]) > 1


def _not_calculated(content: BinaryIO, sheet: Any, name: str) -> Mapping[int, str]:
    """The first cell of each row whose formula has no stored value, by the row's number.

    Programs that write workbooks store formulas only; a spreadsheet program stores their values.
    The empty text is a value: its cell has the type of texts.
    """
    import openpyxl

    if not _has_formulas(content):
        return {}
    found: dict[int, str] = {}
    with ExitStack() as stack:
        stack.enter_context(reading_foreign("this workbook cannot be read", name, _SAVE))
        book = openpyxl.load_workbook(content, read_only=True, keep_links=False)
        stack.callback(book.close)
        written = book[sheet.title]
        for each in (sheet, written):
            each.reset_dimensions()  # a workbook may claim any size
        pairs = zip(sheet.iter_rows(), written.iter_rows(), strict=True)
        for number, (values, formulas) in enumerate(pairs, start=1):
            for value, formula in zip(values, formulas, strict=True):
                if formula.data_type == "f" and value.value is None and value.data_type == "n":
                    found.setdefault(number, formula.coordinate)
    return found


def _has_formulas(content: BinaryIO) -> bool:
    """Whether a sheet of a workbook may have a formula, from its bytes."""
    with zipfile.ZipFile(content) as archive:
        for name in archive.namelist():
            if name.startswith("xl/worksheets/") and _contains(archive, name, _FORMULA):
                return True
    return False


def _contains(archive: zipfile.ZipFile, name: str, pattern: re.Pattern[bytes]) -> bool:
    with reading_foreign("this workbook cannot be read", name, _SAVE), archive.open(name) as file:
        end = b""
        while block := file.read(_BLOCK):
            if pattern.search(end + block):
                return True
            end = block[-_OVERLAP:]
    return False


def _rows(
    sheet: Any, name: str, problems: Problems, budget: Budget, not_calculated: Mapping[int, str]
) -> Iterator[Row]:
    columns: list[str] = []
    for number, cells in _cells(sheet, name, budget, not_calculated):
        where = f"{name} row {number}"
        if cell := not_calculated.get(number):
            error = DataError(
                f"the formula in cell {cell} has no stored value",
                where=where,
                fix="open the workbook in a spreadsheet program and save it, which stores values",
            )
            if not columns:
                raise error
            problems.add(error)
        elif not columns:
            columns = named_columns(cells, where)
        elif len(cells) > len(columns):
            there, meant = counted(len(cells), "cell"), counted(len(columns), "column")
            fix = "name every column in the first row"
            problem = f"the row has {there}, but the header has {meant}"
            problems.add(DataError(problem, where=where, fix=fix))
        else:
            filled = [*cells, *[""] * (len(columns) - len(cells))]
            yield Row(dict(zip(columns, filled, strict=True)), where)


def _cells(
    sheet: Any, name: str, budget: Budget, not_calculated: Mapping[int, str]
) -> Iterator[tuple[int, list[str]]]:
    """The number and the texts of each row that is not empty, without empty cells at its end."""
    with reading_foreign("this workbook cannot be read", name, _SAVE):
        sheet.reset_dimensions()  # a workbook may claim any size
        rows = sheet.iter_rows(values_only=True)
        for number, values in enumerate(rows, start=1):
            cells = _texts(values)
            budget.spend(VALUE_BYTES + _POINTER_BYTES * len(values))
            if cells or number in not_calculated:
                size = sum(map(len, cells)) + VALUE_BYTES * len(cells)
                budget.spend(OBJECT_BYTES + size)
                yield number, cells


def _texts(values: Sequence[Any]) -> list[str]:
    texts = [_text(value) for value in values]
    while texts and not texts[-1].strip():
        texts.pop()
    return texts


def _text(value: Any) -> str:
    """A cell as text; whole numbers have no decimals, as Excel shows them."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    return value.isoformat() if isinstance(value, date | time) else str(value)
