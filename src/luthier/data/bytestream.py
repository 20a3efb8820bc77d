"""Files as bytes and as lines: decompressed within a limit, decoded."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from luthier.core.errors import DataError, ResourceError
from luthier.core.units import format_bytes
from luthier.core.user_files import open_given
from luthier.data.budget import Budget, weight
from luthier.data.encodings import LineDecoder, Note, as_utf8

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_LINE_BYTES = 64 * 2**20
"""Limit of a line; a longer one is not a row of text and could fill the memory."""
_MAX_BLANK_LINES = 1_000_000
"""Limit of consecutive blank lines; a small compressed file can have hundreds of millions."""
UNPACK_FIX = "unpack it, and give the file or folder with the rows"
ZIP_MARK = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a text file.

    Attributes:
        number: counted from 1.
        text: without byte order mark; ends with a line feed, except perhaps the last line.
    """

    number: int
    text: str


class _BoundedReader(io.RawIOBase):
    """A reader of ``stream`` that fails once the budget is spent."""

    def __init__(self, stream: io.BufferedIOBase, budget: Budget) -> None:
        self._stream = stream
        self._budget = budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self._stream.read1(len(view))
        self._budget.spend(weight(data))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


@contextmanager
def open_bytes(path: Path, name: str) -> Iterator[BinaryIO]:
    """Open a file, decompressed if it ends in ``.gz``, as a buffered stream.

    Args:
        path: the file.
        name: its name in errors.

    Raises:
        DataError: the file is unreadable or damaged, or unpacks to far more than it should.
        ResourceError: there is no permission to read it.
    """
    try:
        with _open(path) as stream:
            yield stream
    except DataError as error:
        raise DataError(error.problem, where=error.where or name, fix=error.fix) from None
    except ResourceError as error:
        raise ResourceError(error.problem, where=name) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"the compressed file is damaged: {error}",
            where=name,
            fix="copy or download it again",
        ) from None
    except OSError as error:
        raise DataError(f"cannot read this file: {error.strerror or error}", where=name) from None


def _open(path: Path) -> BinaryIO:
    if path.suffix != ".gz":
        return open_given(path)
    packed = open_given(path)
    size = os.fstat(packed.fileno()).st_size
    budget = Budget(size, "if you trust the file, unpack it with gunzip")
    # The reader closes its source; gzip does not close a file that it did not open.
    stream = gzip.GzipFile(fileobj=packed)
    stream.myfileobj = cast(Any, packed)
    return io.BufferedReader(_BoundedReader(stream, budget), 2**20)


def read_text_lines(path: Path, name: str, note: Note) -> Iterator[Line]:
    """The lines of a text file, one at a time.

    The text is UTF-8, UTF-16 or UTF-32 with a byte order mark, or else Windows-1252. The mark is
    skipped, and Windows line ends become line feeds.

    Args:
        path: the file.
        name: its name in errors.
        note: told if the encoding is a guess.

    Raises:
        DataError: the encoding is unknown, or the file has NUL bytes, more than a million
            consecutive blank lines, or a line over 64 MiB; with the line and the byte.
    """
    return _lines(path, name, note, MAX_LINE_BYTES)


def read_text(path: Path, name: str, note: Note) -> str:
    """The whole text of a file, possibly in one line.

    Args, Raises: as in `read_text_lines`, without a limit for the length of lines.
    """
    return "".join(line.text for line in _lines(path, name, note, None))


def _lines(path: Path, name: str, note: Note, longest: int | None) -> Iterator[Line]:
    decoder = LineDecoder(name, note)
    with open_bytes(path, name) as stream:
        text = as_utf8(cast(io.BufferedReader, stream))
        number = blank = 0
        while raw := text.readline(-1 if longest is None else longest + 1):
            number += 1
            blank = 0 if raw.strip() else blank + 1
            if blank > _MAX_BLANK_LINES:
                raise DataError(
                    f"there are more than {_MAX_BLANK_LINES:,} blank lines in a row",
                    where=f"{name}:{number}",
                    fix="the file is damaged or not data; remove the blank lines",
                )
            if longest is not None and len(raw) > longest:
                raise DataError(
                    f"the line is longer than {format_bytes(longest)}", where=f"{name}:{number}"
                )
            _require_text(raw, f"{name}:{number}", is_first=number == 1)
            line = decoder.text(raw, number)
            yield Line(number, f"{line[:-2]}\n" if line.endswith("\r\n") else line)


def _require_text(raw: bytes, where: str, *, is_first: bool) -> None:
    """Refuse archives and other files that are not text.

    Raises:
        DataError: the line has NUL bytes, or begins a zip file.
    """
    if is_first and raw.startswith(ZIP_MARK):
        raise DataError("zip files are not supported", where=where, fix=UNPACK_FIX)
    if (position := raw.find(b"\0")) >= 0:
        raise DataError(
            f"NUL byte at byte {position + 1} of the line",
            where=where,
            fix="the file is damaged (was its writing interrupted?) or is not text",
        )
