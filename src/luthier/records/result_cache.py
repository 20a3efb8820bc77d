"""A crash-safe cache of results, keyed by their inputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luthier.core.files import append_lines, read_bytes, read_lines, write_lines


class ResultCache:
    """JSON values by key in an append-only file.

    A key identifies the inputs of a value, so a value never goes stale. Interrupted writes are
    discarded; earlier entries survive.
    """

    def __init__(self, path: Path) -> None:
        """Load the cached values, and repair a file whose last line was torn.

        Raises:
            ResourceError: a torn file cannot be rewritten.
        """
        self._path = path
        lines = list(read_lines(path))
        entries = [line for line in lines if _is_entry(line)]
        # The next line would be appended to a line without a newline.
        if path.exists() and _is_torn(read_bytes(path), len(entries)):
            write_lines(path, entries)
        self._values: dict[str, Any] = {entry["key"]: entry["value"] for entry in entries}

    def get(self, key: str) -> Any:
        """The value of a key, or None."""
        return self._values.get(key)

    def add(self, values: Mapping[str, Any]) -> None:
        """Store values; they are on disk when this returns.

        Raises:
            ResourceError: the file cannot be written.
        """
        append_lines(self._path, [{"key": k, "value": v} for k, v in values.items()])
        self._values.update(values)


def _is_entry(line: Any) -> bool:
    return isinstance(line, dict) and "value" in line and isinstance(line.get("key"), str)


def cached_values(path: Path) -> list[Any]:
    """The values in a log, without repairing it."""
    entries = [line for line in read_lines(path) if isinstance(line, dict)]
    return [*{e["key"]: e["value"] for e in entries if {"key", "value"} <= set(e)}.values()]


def _is_torn(content: bytes, entries: int) -> bool:
    """Whether the file contains anything other than complete lines with one entry each."""
    return content.count(b"\n") != entries or (content != b"" and not content.endswith(b"\n"))
