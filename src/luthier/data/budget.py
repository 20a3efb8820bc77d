"""How much a file may become in memory, counted while it is read and before it is built.

A compressed file of a kilobyte can hold gigabytes, and two letters of JSON can become an object of
a hundred bytes. Text compresses three to ten times, and a row becomes a few times its text: what
grows 200 times in all, and beyond half a gibibyte, is an attack.
"""

from __future__ import annotations

from luthier.core.errors import DataError, ResourceError
from luthier.core.units import format_bytes

FREE_BYTES = 512 * 2**20
"""Every file may become as much."""
MAX_RATIO = 200
"""Larger files may become so many times their size."""
OBJECT_BYTES = 512
"""A row or an object of JSON, with the example or the turn that is made of it."""
VALUE_BYTES = 64
"""Another value: a list, a number, a short text."""
_SMALL_TEXT = 2**20


class Budget:
    """What is left of what a file may become.

    Args:
        size: of the file, in bytes.
        fix: what to do with a file that is too much and still trusted.
    """

    def __init__(self, size: int, fix: str) -> None:
        self._limit = max(FREE_BYTES, MAX_RATIO * size)
        self._spent = 0
        self._fix = fix

    def spend(self, count: int) -> None:
        """Count bytes that stay in memory.

        Raises:
            DataError: it is more than the file may become.
        """
        self.allow(count)
        self._spent += count

    def allow(self, count: int) -> None:
        """Check that there is room for bytes that are needed for a while.

        Raises:
            DataError: there is none.
        """
        if self._spent + count > self._limit:
            raise DataError(
                f"this unpacks to more than {format_bytes(self._limit)} in memory, far more than "
                "its size: it looks like a decompression bomb",
                fix=self._fix,
            )


def weight(text: bytes) -> int:
    """About how many bytes of memory the rows in ``text`` take, be it JSON, cells or prose.

    Lines are counted by their line feeds; blank ones, which are no rows, count half.
    """
    dense = text.translate(None, b" \r")
    lines = dense.count(b"\n") - dense.count(b"\n\n")
    values = text.count(b",") + text.count(b"[") + text.count(b"\t")
    return len(text) + OBJECT_BYTES * (lines + text.count(b"{")) + VALUE_BYTES * values


def require_memory(text: str, where: str) -> None:
    """Check that this machine has room for the JSON document in ``text``.

    Raises:
        ResourceError: it has none.
    """
    if len(text) < _SMALL_TEXT:
        return
    import psutil

    objects = text.count("{") + text.count("[") + text.count(",")
    needed, there = len(text) + VALUE_BYTES * objects, int(psutil.virtual_memory().total)
    if needed > there:
        raise ResourceError(
            f"this JSON document would take about {format_bytes(needed)} of memory, and this "
            f"machine has {format_bytes(there)}",
            where=where,
            fix="write it as .jsonl, a row on each line, or in several files",
        )
