"""Text that is not UTF-8: UTF-16 and UTF-32 by their marks, Windows-1252 where UTF-8 fails."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from luthier.core.errors import DataError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Note = Callable[[str], None]
"""Takes a sentence on a guess that a reader had to make."""

# The mark of UTF-32 begins with that of UTF-16, so it comes first.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CHUNK = 2**16
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]{4,}")
_CONTROLS = re.compile(rb"[\0-\x08\x0e-\x1f\x7f]")
_AROUND = re.compile(r"[^\s,;|\"]{0,30}[^\x00-\x7f][^\s,;|\"]{0,30}")
_SAVE = "save the file as UTF-8, for example with 'iconv -f {} -t utf-8'"


def as_utf8(stream: io.BufferedReader) -> BinaryIO:
    """The stream, or its text as UTF-8 if it begins with the mark of UTF-16 or UTF-32.

    Args:
        stream: the bytes of a file, from their beginning.

    Raises:
        DataError: when it is read, if the text does not have the encoding of its mark.
    """
    start = stream.peek(4)[:4]
    encoding = next((name for mark, name in _MARKS if start.startswith(mark)), None)
    if encoding is None:
        return stream
    return io.BufferedReader(_Transcoded(stream, encoding))


class _Transcoded(io.RawIOBase):
    """The bytes of ``stream``, which has ``encoding``, as UTF-8."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream = stream
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        while not self._ready:
            data = self._stream.read(_CHUNK)
            self._ready = self._decoded(data)
            if not data:
                break
        count = min(len(view), len(self._ready))
        view[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _decoded(self, data: bytes) -> bytes:
        try:
            return self._decoder.decode(data, final=not data).encode()
        except UnicodeDecodeError as error:
            name = self._encoding.upper()
            raise DataError(
                f"the file begins as {name}, but is not {name}: {error.reason}",
                fix="the file is damaged; copy or download it again, or save it as UTF-8",
            ) from None


class LineDecoder:
    """Decodes the lines of a file as UTF-8, or all of them as Windows-1252 if that fails.

    A file has one encoding. Lines before the first one that is not UTF-8 must therefore be ASCII,
    and later ones must not be UTF-8.

    Args:
        name: the file's name in errors.
        note: told once if the file is read as Windows-1252.
    """

    def __init__(self, name: str, note: Note) -> None:
        self._name = name
        self._note = note
        self._offset = 0
        self._utf8 = 0
        self._western = 0

    def text(self, raw: bytes, number: int) -> str:
        """The text of the next line.

        Args:
            raw: its bytes.
            number: its number, counted from 1.

        Raises:
            DataError: the encoding is unknown, or differs from that of other lines.
        """
        encoding = "utf-8" if self._offset else "utf-8-sig"
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError as error:
            text = self._western_text(raw, number, error)
        else:
            if not raw.isascii():
                self._require_utf8(number)
        self._offset += len(raw)
        return text

    def _require_utf8(self, number: int) -> None:
        self._utf8 = self._utf8 or number
        if self._western:
            raise DataError(
                f"this line is UTF-8, but line {self._western} is not: the file has two encodings",
                where=f"{self._name}:{number}",
                fix="save all of it as UTF-8",
            )

    def _western_text(self, raw: bytes, number: int, error: UnicodeDecodeError) -> str:
        text = None if self._utf8 else _western(raw)
        if text is None:
            raise self._unknown(raw, number, error)
        if not self._western:
            self._western = number
            self._note(
                f"{self._name} is not UTF-8 and is read as Windows-1252 (Latin-1), first on line "
                f"{number}: {_shown(text)!r}; if that is wrong, save the file as UTF-8"
            )
        return text

    def _unknown(self, raw: bytes, number: int, error: UnicodeDecodeError) -> DataError:
        others = f", while line {self._utf8} is" if self._utf8 else ""
        return DataError(
            f"this is not UTF-8{others}: byte 0x{raw[error.start]:02x} at byte {error.start + 1} "
            f"of the line (byte {self._offset + error.start + 1} of the file)",
            where=f"{self._name}:{number}",
            fix="correct the line; the file is damaged or was put together from several"
            if self._utf8
            else _SAVE.format("windows-1251") + ", with the encoding that it has",
        )


def _western(raw: bytes) -> str | None:
    """The text as Windows-1252, which extends Latin-1; None if it can hardly be that.

    Western text rarely has four different letters beyond ASCII in a row; Greek, Russian or Chinese
    text does.
    """
    runs = _BEYOND_ASCII.findall(raw)
    if any(len(set(run)) > 2 for run in runs) or _CONTROLS.search(raw):
        return None
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return None


def _shown(text: str) -> str:
    """The first word with a letter beyond ASCII."""
    found = _AROUND.search(text)
    return found.group() if found else ""
