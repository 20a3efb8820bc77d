"""Results on standard output: a table, or one JSON document."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from rich.console import RenderableType

from luthier.core.terminal import ResultConsole, encoding_of, printable_json, unguarded


def print_json(value: Any) -> None:
    """Print one JSON document."""
    stream = unguarded(sys.stdout)
    stream.write(printable_json(value, encoding_of(stream)) + "\n")


def print_result(*parts: RenderableType) -> None:
    """Print tables and text, without markup and with control characters escaped."""
    console = _console()
    for part in parts:
        console.print(part, crop=False)  # nothing is cut, even if it is too long


def is_interactive() -> bool:
    """Whether a person reads standard output and types on standard input."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def ask(question: str) -> str:
    """The line that the user types after a question; empty at the end of the input."""
    print_result(question)
    return sys.stdin.readline().strip()


class OutputStream(io.RawIOBase):
    """Standard output for bytes of UTF-8: unchanged in a pipe, printable on a terminal."""

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, content: Any, /) -> int:
        """Write whole characters; see `io.RawIOBase.write`."""
        data = bytes(content)
        pipe = getattr(unguarded(sys.stdout), "buffer", None)
        if pipe is None or sys.stdout.isatty():
            sys.stdout.write(data.decode("utf-8"))
        else:
            sys.stdout.flush()
            pipe.write(data)
            pipe.flush()
        return len(data)


def output_width() -> int:
    """The width of standard output in columns."""
    return _console().width


def _console() -> ResultConsole:
    # A pipe has no width; 100 columns keep most tables whole.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 100
    return ResultConsole(sys.stdout, width=width)
