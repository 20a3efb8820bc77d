"""Results kept by what they were made from, safe at every moment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luthier.core.files import append_lines, read_bytes, read_lines, write_lines


class ResultCache:
    """JSON values by key in a file that is only appended to.

    A key names the content a value was made from, so a value is never out of date: what is made
    from something else has another key. What an addition was killed in is left out, and all that
    was added before is there.
    """

    def __init__(self, path: Path) -> None:
        """Read what is kept, and mend a file whose last line was torn.

        Raises:
            ResourceError: a torn file cannot be written.
        """
        self._path = path
        lines = list(read_lines(path))
        entries = [line for line in lines if _is_entry(line)]
        # A line without its end would swallow the one that is appended to it.
        if path.exists() and _is_torn(read_bytes(path), len(entries)):
            write_lines(path, entries)
        self._values: dict[str, Any] = {entry["key"]: entry["value"] for entry in entries}

    def get(self, key: str) -> Any:
        """The value of a key, or None."""
        return self._values.get(key)

    def add(self, values: Mapping[str, Any]) -> None:
        """Keep values; when this returns they are on the disk.

        Raises:
            ResourceError: the file cannot be written.
        """
        append_lines(self._path, [{"key": k, "value": v} for k, v in values.items()])
        self._values.update(values)


def _is_entry(line: Any) -> bool:
    return isinstance(line, dict) and "value" in line and isinstance(line.get("key"), str)


def cached_values(path: Path) -> list[Any]:
    """The values that a log holds, by key and without mending it."""
    entries = [line for line in read_lines(path) if isinstance(line, dict)]
    return [*{e["key"]: e["value"] for e in entries if {"key", "value"} <= set(e)}.values()]


def _is_torn(content: bytes, entries: int) -> bool:
    """Whether the file holds anything but whole lines with an entry each."""
    return content.count(b"\n") != entries or (content != b"" and not content.endswith(b"\n"))
