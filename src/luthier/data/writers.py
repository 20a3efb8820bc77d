"""Writers of rows, one per file suffix; the table is at the end."""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time
from pathlib import Path
from typing import IO, Any

from luthier.core.errors import DataError, UsageError
from luthier.core.names import named, shortened
from luthier.core.untrusted import reason
from luthier.data.json_text import null_for_nan

Values = Mapping[str, Any]


class RowWriter(ABC):
    """Writes rows to an open file, in order.

    Args:
        file: the file.
        columns: the names of all columns that rows may have, in order.
    """

    def __init__(self, file: IO[bytes], columns: Sequence[str]) -> None:
        self._file = file
        self._columns = columns

    @abstractmethod
    def write(self, rows: Sequence[Values]) -> None:
        """Write further rows.

        Raises:
            DataError: a value cannot be written in this format.
        """

    def finish(self) -> None:  # noqa: B027 - most formats need nothing
        """Complete the file, which stays open.

        Raises:
            DataError: the rows cannot be written in this format.
        """


class JsonlWriter(RowWriter):
    """Writes a JSON object per line; a row has only its own columns."""

    def write(self, rows: Sequence[Values]) -> None:
        """See `RowWriter.write`."""
        for row in rows:
            self._file.write(f"{_json(row)}\n".encode("utf-8", "backslashreplace"))


class CsvWriter(RowWriter):
    """Writes comma-separated cells in UTF-8; nested values as JSON, null as an empty cell."""

    dialect: Mapping[str, Any] = {"lineterminator": "\n"}

    def __init__(self, file: IO[bytes], columns: Sequence[str]) -> None:
        super().__init__(file, columns)
        self._write([[self.cell(name) for name in columns]])

    def write(self, rows: Sequence[Values]) -> None:
        """See `RowWriter.write`."""
        self._write([[self.cell(row.get(name)) for name in self._columns] for row in rows])

    def cell(self, value: Any) -> str:
        """The text of a value."""
        value = _finite(value)
        if value is None:
            return ""
        return _json(value) if isinstance(value, bool | int | float | list | dict) else _text(value)

    def _write(self, rows: Sequence[Sequence[str]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, **self.dialect).writerows(rows)
        self._file.write(text.getvalue().encode("utf-8", "backslashreplace"))


class TsvWriter(CsvWriter):
    """Writes tab-separated cells without quoting: tabs and line breaks in them become blanks."""

    dialect: Mapping[str, Any] = {
        "lineterminator": "\n", "delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None,
    }  # fmt: skip

    def cell(self, value: Any) -> str:
        """See `CsvWriter.cell`."""
        return " ".join(super().cell(value).replace("\t", " ").splitlines())


class ParquetWriter(RowWriter):
    """Writes a parquet file at the end; rows wait as columns in Arrow's memory."""

    def __init__(self, file: IO[bytes], columns: Sequence[str]) -> None:
        super().__init__(file, columns)
        self._tables: list[Any] = []

    def write(self, rows: Sequence[Values]) -> None:
        """See `RowWriter.write`."""
        import pyarrow

        values = {}
        for name in self._columns:
            with _arrow(f"the column {named(name)}"):
                values[name] = pyarrow.array([row.get(name) for row in rows])
        self._tables.append(pyarrow.table(values))

    def finish(self) -> None:
        """See `RowWriter.finish`."""
        import pyarrow
        from pyarrow import parquet

        with _arrow("a column"):
            empty = pyarrow.table({name: pyarrow.array([]) for name in self._columns})
            tables = self._tables or [empty]
            parquet.write_table(
                pyarrow.concat_tables(tables, promote_options="permissive"), self._file
            )


@contextmanager
def _arrow(column: str) -> Iterator[None]:
    """Convert Arrow's errors about the values of a column into errors that say what to do.

    Raises:
        DataError: a value does not fit its column.
    """
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OverflowError, UnicodeError) as error:
        raise DataError(
            f"{column} has values that parquet cannot store together: {reason(error)}",
            fix="write .jsonl or .csv",
        ) from None


def _json(value: Any) -> str:
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, default=_text)


def _finite(value: Any) -> Any:
    """The value with null for each number that is not finite, which JSON cannot represent."""
    return null_for_nan(value, kept=())


def _text(value: Any) -> str:
    """A text, or that of a value of a parquet file that JSON does not know."""
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


WriterOf = Callable[[IO[bytes], Sequence[str]], RowWriter]
"""Makes a writer for an open file and the names of all columns."""
WRITERS: Mapping[str, WriterOf] = {
    ".csv": CsvWriter,
    ".tsv": TsvWriter,
    ".jsonl": JsonlWriter,
    ".parquet": ParquetWriter,
}
"""By suffix."""


def writer_of(path: Path) -> WriterOf:
    """The writer for the suffix of a file.

    Raises:
        UsageError: there is none.
    """
    if writer := WRITERS.get(path.suffix.lower()):
        return writer
    kind = shortened(path.suffix) or "without a suffix"
    raise UsageError(
        f"files of the kind {kind} cannot be written",
        where=str(path),
        fix=f"name a file that ends in {', '.join(WRITERS)}",
    )
