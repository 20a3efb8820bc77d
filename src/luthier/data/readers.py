"""Readers of rows, one per file suffix; the table is at the end."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NoReturn

from luthier.core.errors import DataError
from luthier.core.names import listed
from luthier.core.row import Row
from luthier.core.units import counted
from luthier.data.budget import require_memory
from luthier.data.bytestream import MAX_LINE_BYTES, Line, read_text, read_text_lines
from luthier.data.columns import MAX_COLUMNS, require_distinct_columns, require_few_columns
from luthier.data.json_text import is_list, null_for_nan, parse_items, parse_json
from luthier.data.parquet import rows_of_parquet
from luthier.data.problems import Problems

# The module's limit is 128 KiB per cell, which long documents exceed, and it can be changed only
# for the whole process.
csv.field_size_limit(MAX_LINE_BYTES)
_CSV: dict[str, Any] = {"delimiter": ",", "strict": True}
# Tab-separated values have no quoting: a quotation mark is an ordinary character.
_TSV: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE}


Reader = Callable[[Path, str, Problems], Iterator[Row]]
"""Reads the rows of a file, with its name for errors. Errors in single rows go to `Problems`; an
error that makes all later rows unreliable is raised."""


def _read_jsonl(path: Path, name: str, problems: Problems) -> Iterator[Row]:
    for line in read_text_lines(path, name):
        text = line.text.strip()
        if not text:
            continue
        where = f"{name}:{line.number}"
        try:
            yield Row(_object(_parse_json(text, name, line.number), where), where)
        except DataError as error:
            problems.add(error)


def _read_json(path: Path, name: str, problems: Problems) -> Iterator[Row]:
    text = read_text(path, name)
    if not text.strip():
        return
    require_memory(text, name)
    for index, value in enumerate(_documents(text, name), start=1):
        try:
            where = f"{name} row {index}"
            yield Row(_object(value, where), where)
        except DataError as error:
            problems.add(error)


def _documents(text: str, name: str) -> Iterator[Any]:
    """The items of a list, or of the list ``data`` in an object."""
    if is_list(text):
        with _told_where(name, 1):
            yield from parse_items(text)
        return
    document = _parse_json(text, name, 1)
    rows = document.get("data") if isinstance(document, dict) else None
    if isinstance(rows, list):
        yield from rows
    elif isinstance(document, dict) and _is_columns(document):
        raise DataError(
            "the file has columns, not rows: each key has the values of all rows",
            where=name,
            fix='save it with to_json(path, orient="records", lines=True), '
            "and name the file .jsonl",
        )
    else:
        raise DataError(
            "the file has neither a list of rows nor an object with a list called 'data'",
            where=name,
            fix="if each line is a row of its own, name the file .jsonl",
        )


def _is_columns(document: dict[str, Any]) -> bool:
    """Whether a document is a table by columns: lists, or objects by row number, equally long."""
    values = list(document.values())
    kinds = {type(value) for value in values}
    lengths = {len(value) for value in values if isinstance(value, (list, dict))}
    return kinds in ({list}, {dict}) and len(lengths) == 1


def _read_csv(path: Path, name: str, problems: Problems) -> Iterator[Row]:
    return _read_cells(path, name, problems, _CSV)


def _read_tsv(path: Path, name: str, problems: Problems) -> Iterator[Row]:
    return _read_cells(path, name, problems, _TSV)


def read_headless(
    path: Path,
    problems: Problems,
    columns: Sequence[str],
    separator: Literal["comma", "tab"],
) -> Iterator[Row]:
    """Rows of a file of cells without a header, whatever its suffix.

    Args:
        path: the file.
        problems: receives rows with too few cells.
        columns: the names of the first cells of each row; further cells are ignored.
        separator: the separator of cells.

    Raises:
        DataError: the file is unreadable.
    """
    dialect = {"comma": _CSV, "tab": _TSV}[separator]
    names = listed(columns)
    for cells, where in _rows_of_cells(path, path.name, dialect):
        if len(cells) < len(columns):
            problem = f"the row has {counted(len(cells), 'cell')}, but {names} are expected"
            problems.add(DataError(problem, where=where))
        else:
            yield Row(dict(zip(columns, cells, strict=False)), where)


def _read_cells(
    path: Path, name: str, problems: Problems, dialect: dict[str, Any]
) -> Iterator[Row]:
    columns: list[str] = []
    for cells, where in _rows_of_cells(path, name, dialect):
        if not columns:
            columns = _header(cells, where)
        elif len(cells) != len(columns):
            there, meant = counted(len(cells), "cell"), counted(len(columns), "column")
            problem = f"the row has {there}, but the header has {meant}"
            problems.add(
                DataError(problem, where=where, fix="quote cells that contain a separator")
            )
        else:
            yield Row(dict(zip(columns, cells, strict=True)), where)


def _rows_of_cells(
    path: Path, name: str, dialect: dict[str, Any]
) -> Iterator[tuple[list[str], str]]:
    """The cells of each row that is not empty, with the location of its first line."""
    reader = csv.reader((line.text for line in read_text_lines(path, name)), **dialect)
    while True:
        where = f"{name}:{reader.line_num + 1}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fix = "double the quotation marks inside quoted cells, and close every quoted cell"
            raise DataError(
                f"the row that starts here is invalid: {error}", where=where, fix=fix
            ) from None
        if len(cells) > 1 or "".join(cells).strip():
            yield cells, where


def _header(cells: Sequence[str], where: str) -> list[str]:
    require_few_columns(cells, where)
    names = [cell.strip() for cell in cells]
    columns = [name or _unnamed(index, names) for index, name in enumerate(names)]
    require_distinct_columns(columns, where)
    if len(columns) == 1 and (separator := next((c for c in ";\t" if c in columns[0]), "")):
        raise DataError(
            f"the columns seem to be separated by {separator!r} instead of a comma",
            where=where,
            fix="use the suffix .tsv for tab-separated files, and commas otherwise",
        )
    return columns


def _unnamed(index: int, others: Sequence[str]) -> str:
    """Pandas' name for a column without one, such as its row numbers."""
    name = f"Unnamed: {index}"
    while name in others:
        name += ".1"
    return name


def _read_txt(path: Path, name: str, problems: Problems) -> Iterator[Row]:
    """Paragraphs, separated by blank lines."""
    paragraph: list[Line] = []
    for line in read_text_lines(path, name):
        if line.text.strip():
            paragraph.append(line)
        elif paragraph:
            yield _paragraph(paragraph, name)
            paragraph = []
    if paragraph:
        yield _paragraph(paragraph, name)


def _paragraph(lines: Sequence[Line], name: str) -> Row:
    text = "".join(line.text for line in lines).rstrip()
    return Row({"text": text}, f"{name}:{lines[0].number}")


def _parse_json(text: str, name: str, first_line: int) -> Any:
    """The JSON document in ``text``, which starts on line ``first_line``; NaN becomes null.

    Raises:
        DataError: it is not JSON, has a duplicate key, or has a lone surrogate.
    """
    with _told_where(name, first_line):
        return parse_json(text)


@contextmanager
def _told_where(name: str, first_line: int) -> Iterator[None]:
    """Add file and line to JSON errors."""
    try:
        yield
    except json.JSONDecodeError as error:
        _raise_malformed(error, name, first_line)
    except ValueError as error:
        raise DataError(f"invalid JSON: {error}", where=f"{name}:{first_line}") from None


def _raise_malformed(error: json.JSONDecodeError, name: str, first_line: int) -> NoReturn:
    where = f"{name}:{first_line + error.lineno - 1}"
    if error.msg == "Extra data" and error.lineno > 1:
        raise DataError(
            "a second JSON document starts here", where=where, fix="name the file .jsonl"
        )
    message = (error.msg[:1].lower() + error.msg[1:]).removesuffix(" at")
    raise DataError(f"invalid JSON: {message} at column {error.colno}", where=where)


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        kind = {list: "a list", str: "a text", type(None): "null"}.get(type(value), "a number")
        raise DataError(f'a row must be an object such as {{"prompt": …}}, not {kind}', where=where)
    if len(value) > MAX_COLUMNS:
        raise DataError(
            f"the row has {len(value):,} keys, but at most {MAX_COLUMNS:,} are supported",
            where=where,
        )
    return value


def _read_parquet(path: Path, name: str, problems: Problems) -> Iterator[Row]:
    for index, values in enumerate(rows_of_parquet(path, name), start=1):
        yield Row(null_for_nan(values), f"{name} row {index}")


READERS: dict[str, Reader] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".txt": _read_txt,
    ".parquet": _read_parquet,
}
"""By suffix, each optionally followed by ``.gz``."""


def reader_of(path: Path) -> Reader | None:
    """The reader for ``path``; None for other kinds of files."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix != ".gz"]
    return READERS.get(suffixes[-1]) if suffixes else None
