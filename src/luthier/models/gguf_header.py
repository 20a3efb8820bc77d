"""The header of a GGUF file, checked before a library reads it.

The library trusts the lengths in it: an announced array of 10^18 bytes in a file of a hundred would
be read almost forever. The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import BinaryIO

from luthier.core.errors import DataError
from luthier.core.user_files import open_given

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MOST_FIELDS, _MOST_TENSORS, _MOST_NAME = 2**16, 2**20, 2**16
_MOST_DIMENSIONS = 8
_MOST_LAYERS, _MOST_SIZE = 10_000, 2**31
_LAYERS = (".block_count", ".head_count", ".head_count_kv", ".expert_count")
# Without these, transformers would build a model with its defaults, of billions of parameters.
_NEEDED = (".block_count", ".embedding_length")
_STRING, _ARRAY = 8, 9
# The format's number types as struct codes.
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"}
_NUMBERS[12] = "d"


def check_header(path: Path) -> None:
    """Check that everything announced in a GGUF file's header is present and plausible.

    Raises:
        FileNotFoundError: the file does not exist.
        DataError: it is not a GGUF file, is truncated, or has an implausible number.
    """
    with open_given(path) as file:
        file.seek(0, 2)
        header = _Header(file, path, file.tell())
        file.seek(0)
        header.check()


class _Header:
    def __init__(self, file: BinaryIO, path: Path, size: int) -> None:
        self._file, self._path, self._size = file, path, size
        self._sizes: dict[str, float] = {}
        self._places: set[int] = set()

    def check(self) -> None:
        if self._take(4) != _MAGIC:
            raise self._wrong("it has no GGUF magic number")
        if (version := self._number("I")) not in _VERSIONS:
            raise self._wrong(f"version {version} is unknown")
        tensors, fields = self._count(_MOST_TENSORS, 24), self._count(_MOST_FIELDS, 13)
        for _ in range(fields):
            self._field(tensors)
        lengths = {length for _ in range(tensors) for length in self._tensor()}
        for needed in _NEEDED:
            if not any(name.endswith(needed) for name in self._sizes):
                raise self._wrong(f"it has no {needed[1:]}")
        for name, size in self._sizes.items():
            if name.endswith(_NEEDED[1]) and size not in lengths:
                raise self._wrong(f"{name} is {size}, longer than any tensor")

    def _tensor(self) -> list[int]:
        """The shape of a tensor, which must lie within the file."""
        name = self._text(_MOST_NAME)
        dimensions = self._count(_MOST_DIMENSIONS, 8, "I")
        lengths = [self._number("Q") for _ in range(dimensions)]
        self._take(4)  # its type
        place = self._number("Q")
        # The smallest types take a bit or two per number.
        if math.prod(lengths) > 8 * self._size or place > self._size:
            raise self._wrong(f"the tensor {name!r} is larger than the file")
        if place in self._places:
            raise self._wrong(f"the tensor {name!r} overlaps another one")
        self._places.add(place)
        return lengths

    def _field(self, tensors: int) -> None:
        name, kind = self._text(_MOST_NAME), self._number("I")
        value = self._value(kind)
        if value is None:
            return
        if name.endswith(_NEEDED):
            self._sizes[name] = value
        most = max(tensors, _MOST_LAYERS) if name.endswith(_LAYERS) else _MOST_SIZE
        if name.endswith(".block_count"):
            most = min(tensors, _MOST_LAYERS)
        is_size = name.endswith((*_LAYERS, "_length", "_count", ".vocab_size"))
        if not math.isfinite(value) or (is_size and not 0 <= value <= most):
            raise self._wrong(f"{name} is {value}, but can be at most {most:,}")

    def _value(self, kind: int) -> float | None:
        """A number; other values are skipped and give None."""
        if kind in _NUMBERS:
            return self._number(_NUMBERS[kind])
        if kind == _STRING:
            self._text(self._size)
        elif kind == _ARRAY:
            self._array()
        else:
            raise self._wrong(f"a value has the unknown type {kind}")
        return None

    def _array(self) -> None:
        inner = self._number("I")
        if inner in _NUMBERS:
            width = struct.calcsize(_NUMBERS[inner])
            self._file.seek(width * self._count(self._size, width), 1)
        elif inner == _STRING:
            for _ in range(self._count(self._size, 8)):
                self._text(self._size)
        else:
            raise self._wrong(f"an array has values of the type {inner}")

    def _count(self, most: int, width: int, code: str = "Q") -> int:
        """The number of following items of at least ``width`` bytes each."""
        count = self._number(code)
        if count > most or count * width > self._size - self._file.tell():
            raise self._wrong(f"it announces {count:,} values but is shorter")
        return count

    def _text(self, most: int) -> str:
        return self._take(self._count(most, 1)).decode("utf-8", "replace")

    def _number(self, code: str) -> int:
        found: int = struct.unpack("<" + code, self._take(struct.calcsize(code)))[0]
        return found

    def _take(self, count: int) -> bytes:
        found = self._file.read(count)
        if len(found) < count:
            raise self._wrong("it is truncated")
        return found

    def _wrong(self, problem: str) -> DataError:
        return DataError(
            f"this GGUF file cannot be read: {problem}",
            where=str(self._path),
            fix="download it again",
        )
