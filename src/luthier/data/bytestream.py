"""Files as bytes and as lines: decompressed within a limit, decoded strictly."""

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

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_LINE_BYTES = 64 * 2**20
"""Limit of a line; a longer one is not a row of text and could fill the memory."""
_MAX_BLANK_LINES = 1_000_000
"""Limit of consecutive blank lines; a small compressed file can have hundreds of millions."""
UNPACK_FIX = "unpack it, and give the file or folder with the rows"
_ZIP_MARK = b"PK\x03\x04"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


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


def read_text_lines(path: Path, name: str) -> Iterator[Line]:
    """The lines of a UTF-8 file, one at a time.

    A byte order mark is skipped, and Windows line ends become line feeds.

    Args:
        path: the file.
        name: its name in errors.

    Raises:
        DataError: the file is not UTF-8, or has NUL bytes, more than a million consecutive blank
            lines, or a line over 64 MiB; with the line and the byte.
    """
    return _lines(path, name, MAX_LINE_BYTES)


def read_text(path: Path, name: str) -> str:
    """The whole text of a UTF-8 file, possibly in one line.

    Args, Raises: as in `read_text_lines`, without a limit for the length of lines.
    """
    return "".join(line.text for line in _lines(path, name, None))


def _lines(path: Path, name: str, longest: int | None) -> Iterator[Line]:
    offset = 0
    with open_bytes(path, name) as stream:
        number = blank = 0
        while raw := stream.readline(-1 if longest is None else longest + 1):
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
            yield Line(number, _decode(raw, f"{name}:{number}", offset))
            offset += len(raw)


def _decode(raw: bytes, where: str, offset: int) -> str:
    if offset == 0 and raw.startswith(_UTF16_MARKS):
        raise DataError(
            "the file is UTF-16, not UTF-8",
            where=where,
            fix="save it as UTF-8, for example with 'iconv -f utf-16 -t utf-8'",
        )
    if offset == 0 and raw.startswith(_ZIP_MARK):
        raise DataError("zip files are not supported", where=where, fix=UNPACK_FIX)
    if (position := raw.find(b"\0")) >= 0:
        raise DataError(
            f"NUL byte at byte {position + 1} of the line",
            where=where,
            fix="the file is damaged (was its writing interrupted?) or is not text",
        )
    try:
        text = raw.decode("utf-8-sig" if offset == 0 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"this is not UTF-8: byte 0x{raw[error.start]:02x} at byte {error.start + 1} of the "
            f"line (byte {offset + error.start + 1} of the file)",
            where=where,
            fix="save the file as UTF-8, for example with 'iconv -f latin1 -t utf-8'",
        ) from None
    return f"{text[:-2]}\n" if text.endswith("\r\n") else text
