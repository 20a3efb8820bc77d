"""A limit on the memory that a file's content may take, enforced while it is read.

A compressed file of a kilobyte can contain gigabytes, and two characters of JSON can become an
object of a hundred bytes. Text compresses three to ten times, and a row takes a few times the size
of its text. Growth by a factor of 200 and beyond half a gibibyte is treated as an attack.
"""

from __future__ import annotations

from luthier.core.errors import DataError, ResourceError
from luthier.core.units import format_bytes

FREE_BYTES = 512 * 2**20
"""Memory allowed for every file."""
MAX_RATIO = 200
"""Memory allowed for larger files, as a multiple of their size."""
OBJECT_BYTES = 512
"""A JSON row or object, including the example or turn created from it."""
VALUE_BYTES = 64
"""Any other value: a list, a number, a short text."""
_SMALL_TEXT = 2**20


class Budget:
    """The remaining memory allowance of a file.

    Args:
        size: the size of the file in bytes.
        fix: advice for a trusted file that exceeds the limit.
    """

    def __init__(self, size: int, fix: str) -> None:
        self._limit = max(FREE_BYTES, MAX_RATIO * size)
        self._spent = 0
        self._fix = fix

    def spend(self, count: int) -> None:
        """Count bytes that stay in memory.

        Raises:
            DataError: the limit is exceeded.
        """
        self.allow(count)
        self._spent += count

    def allow(self, count: int) -> None:
        """Check that bytes needed temporarily fit.

        Raises:
            DataError: they do not.
        """
        if self._spent + count > self._limit:
            raise DataError(
                f"it unpacks to more than {format_bytes(self._limit)} in memory, far more than "
                "its size: it looks like a decompression bomb",
                fix=self._fix,
            )


def weight(text: bytes) -> int:
    """Estimated bytes of memory of the rows in ``text``, whether JSON, cells or prose.

    Lines are counted by their line feeds; blank lines, which are not rows, count half.
    """
    dense = text.translate(None, b" \r")
    lines = dense.count(b"\n") - dense.count(b"\n\n")
    values = text.count(b",") + text.count(b"[") + text.count(b"\t")
    return len(text) + OBJECT_BYTES * (lines + text.count(b"{")) + VALUE_BYTES * values


def require_memory(text: str, where: str) -> None:
    """Check that this machine has enough memory for the JSON document in ``text``.

    Raises:
        ResourceError: it does not.
    """
    if len(text) < _SMALL_TEXT:
        return
    import psutil

    objects = text.count("{") + text.count("[") + text.count(",")
    needed, there = len(text) + VALUE_BYTES * objects, int(psutil.virtual_memory().total)
    if needed > there:
        raise ResourceError(
            f"this JSON document needs about {format_bytes(needed)} of memory, but this machine "
            f"has {format_bytes(there)}",
            where=where,
            fix="save it as .jsonl with one row per line, or as several files",
        )
