"""Shell commands that can be copied from a terminal of any width."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderResult

from luthier.core.terminal import Text

_INDENT = "  "
_BREAK = " \\"


class Command:
    """A command, broken with backslashes where a line ends, so that a shell reads it as one.

    Args:
        arguments: the program and its arguments, not yet quoted.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments = tuple(arguments)

    def __str__(self) -> str:
        """The command on one line."""
        return shlex.join(self.arguments)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the command, indented."""
        for line in self._lines(options.max_width):
            yield Text(line, style="bold", no_wrap=True, overflow="ignore")

    def _lines(self, width: int) -> Iterator[str]:
        first, *others = self._parts()
        line = _INDENT + first
        for left, part in enumerate(others, start=1 - len(others)):
            longer = f"{line} {part}"
            if len(longer) + (len(_BREAK) if left else 0) > width:
                yield line + _BREAK
                longer = 2 * _INDENT + part
            line = longer
        yield line

    def _parts(self) -> Iterator[str]:
        """The quoted words, each option together with its value."""
        option = ""
        for word in map(shlex.quote, self.arguments):
            if option and not word.startswith("--"):
                yield f"{option} {word}"
                option = ""
                continue
            if option:
                yield option
            option = word if word.startswith("--") else ""
            if not option:
                yield word
        if option:
            yield option
