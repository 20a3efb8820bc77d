"""Rows of delimited text: CSV with any usual delimiter, and tab-separated values."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from luthier.core.errors import DataError
from luthier.core.names import listed
from luthier.core.row import Row
from luthier.core.units import counted
from luthier.data.bytestream import MAX_LINE_BYTES, Line, read_text_lines
from luthier.data.columns import named_columns
from luthier.data.encodings import Note
from luthier.data.problems import Problems

# The module's limit is 128 KiB per cell, which long documents exceed, and it can be changed only
# for the whole process.
csv.field_size_limit(MAX_LINE_BYTES)
DELIMITERS = (",", ";", "\t", "|")
"""The delimiters that are recognised, the most usual first."""
_ONE_COLUMN = "\x1f"
"""The delimiter of a file with one column: a control character, so that no text is divided."""
_SAMPLE_LINES = 200
_SAMPLE_CHARACTERS = 2**18
_DECLARED = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)
"""The first line with which Excel names a delimiter."""


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How lines are divided into cells.

    Attributes:
        delimiter: the character between cells.
        is_quoted: whether cells may stand in quotation marks; otherwise these are ordinary
            characters.
    """

    delimiter: str
    is_quoted: bool = True

    def read(self, lines: Iterator[str]) -> Any:
        """A `csv.reader` of the lines, which rejects malformed quoting."""
        if self.is_quoted:
            return csv.reader(lines, delimiter=self.delimiter, strict=True)
        return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE)


# Tab-separated values have no quoting.
_TSV = _Dialect("\t", is_quoted=False)


def read_csv(path: Path, name: str, problems: Problems) -> Iterator[Row]:
    """The rows of a CSV file, whose delimiter is found from its first lines.

    A file whose header has no delimiter has one column, and its lines are not divided.

    Raises:
        DataError: the file is unreadable, its header is unusable, or a quoted cell is malformed.
    """
    lines = read_text_lines(path, name, problems.note)
    sample = _sample(lines)
    is_whole = len(sample) < _SAMPLE_LINES
    declared = _DECLARED.fullmatch(sample[0].text) if sample else None
    if declared:
        dialect = _Dialect(declared.group(1))
        sample = sample[1:]
    else:
        dialect = _Dialect(find_delimiter([line.text for line in sample], is_whole=is_whole))
    if dialect.delimiter == _ONE_COLUMN:
        _note_commas(sample, name, problems.note)
    yield from _rows(chain(sample, lines), name, problems, dialect)


def read_tsv(path: Path, name: str, problems: Problems) -> Iterator[Row]:
    """The rows of a file of tab-separated values; one without tabs is read as CSV.

    Raises:
        DataError: the file is unreadable, or its header is unusable.
    """
    lines = read_text_lines(path, name, problems.note)
    first = next((line for line in lines if line.text.strip()), None)
    if first is None:
        return
    if "\t" not in first.text and any(one in first.text for one in DELIMITERS):
        problems.note(f"{name} has no tabs in its header, so it is read as CSV")
        yield from read_csv(path, name, problems)
    else:
        yield from _rows(chain([first], lines), name, problems, _TSV)


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
    dialect = {"comma": _Dialect(","), "tab": _TSV}[separator]
    names = listed(columns)
    lines = read_text_lines(path, path.name, problems.note)
    for cells, where in _rows_of_cells(lines, path.name, dialect):
        if len(cells) < len(columns):
            problem = f"the row has {counted(len(cells), 'cell')}, but {names} are expected"
            problems.add(DataError(problem, where=where))
        else:
            yield Row(dict(zip(columns, cells, strict=False)), where)


def find_delimiter(lines: Sequence[str], *, is_whole: bool) -> str:
    """The delimiter that divides the first lines of a CSV file.

    The header has more than one cell with it, and more rows have as many cells as the header than
    with any other; among equals, the one with most columns is taken.

    Args:
        lines: the first lines, with their line ends.
        is_whole: whether they are all lines of the file; otherwise the last row may be incomplete.

    Returns:
        One of `DELIMITERS`, or a control character for a file with one column.
    """
    found = [(_fit(lines, _Dialect(one), is_whole=is_whole), one) for one in DELIMITERS]
    fitting = [(fit, one) for fit, one in found if fit[1] > 1]
    return max(fitting, key=lambda item: item[0])[1] if fitting else _ONE_COLUMN


def _fit(lines: Sequence[str], dialect: _Dialect, *, is_whole: bool) -> tuple[float, int]:
    """The share of rows that are as long as the header, and the header's number of cells."""
    reader = dialect.read(iter(lines))
    lengths: list[int] = []
    is_broken = False
    try:
        lengths.extend(len(cells) for cells in reader if len(cells) > 1 or "".join(cells).strip())
    except csv.Error:
        is_broken = is_whole or reader.line_num < len(lines)
    if not lengths:
        return 0.0, 0
    header, *rows = lengths
    fitting = sum(length == header for length in rows)
    total = len(rows) + is_broken * (len(lines) - reader.line_num + 1)
    return (fitting / total if total else 1.0), header


def _sample(lines: Iterator[Line]) -> list[Line]:
    """The first lines of a file, without the blank ones before its header."""
    sample: list[Line] = []
    characters = 0
    for line in lines:
        if sample or line.text.strip():
            sample.append(line)
            characters += len(line.text)
        if len(sample) >= _SAMPLE_LINES or characters > _SAMPLE_CHARACTERS:
            break
    return sample


def _note_commas(lines: Sequence[Line], name: str, note: Note) -> None:
    """Say that the lines of a file with one column are not divided, if they could be."""
    divided = (line for line in lines[1:] if "," in line.text and not line.text.startswith('"'))
    if line := next(divided, None):
        note(
            f"the header of {name} has one column, so lines with commas are one cell each, such as "
            f"{name}:{line.number}"
        )


def _rows(lines: Iterator[Line], name: str, problems: Problems, dialect: _Dialect) -> Iterator[Row]:
    columns: list[str] = []
    for cells, where in _rows_of_cells(lines, name, dialect):
        if not columns:
            columns = named_columns(cells, where)
        elif len(cells) != len(columns):
            there, meant = counted(len(cells), "cell"), counted(len(columns), "column")
            problem = f"the row has {there}, but the header has {meant}"
            problems.add(
                DataError(problem, where=where, fix="quote cells that contain a separator")
            )
        else:
            yield Row(dict(zip(columns, cells, strict=True)), where)


def _rows_of_cells(
    lines: Iterator[Line], name: str, dialect: _Dialect
) -> Iterator[tuple[list[str], str]]:
    """The cells of each row that is not empty, with the location of its first line."""
    numbers = _Numbers(lines)
    reader = dialect.read(numbers)
    while True:
        numbers.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fix = "double the quotation marks inside quoted cells, and close every quoted cell"
            raise DataError(
                f"the row that starts here is invalid: {error}",
                where=f"{name}:{numbers.first}",
                fix=fix,
            ) from None
        if len(cells) > 1 or "".join(cells).strip():
            yield cells, f"{name}:{numbers.first}"


class _Numbers:
    """The texts of lines, which remember the number of the first line of a row."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self.first = 0

    def begin(self) -> None:
        """A row begins with the next line."""
        self.first = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.first = self.first or line.number
        return line.text
