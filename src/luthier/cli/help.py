"""Help texts that fill the terminal's width, regardless of line breaks in docstrings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cyclopts.help import DefaultFormatter, InlineText

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel
    from rich.console import Console, ConsoleOptions

_LINE_BREAK = re.compile(r"(?<=\S)[ \t]*\n[ \t]*(?=\S)")


def filled(text: str) -> str:
    """The text with each paragraph on one line; blank lines separate paragraphs."""
    return _LINE_BREAK.sub(" ", text)


class FilledHelp(DefaultFormatter):
    """A formatter that wraps descriptions to the terminal's width."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print a panel of commands or options."""
        entries = [entry.copy(description=_filled(entry.description)) for entry in panel.entries]
        super().__call__(console, options, panel.copy(entries=entries))

    def render_description(
        self, console: Console, options: ConsoleOptions, description: Any
    ) -> None:
        """Print the description of the command."""
        super().render_description(console, options, _filled(description))


def _filled(description: Any) -> Any:
    """The same text, filled; anything else as it is."""
    from rich.text import Text

    if isinstance(description, InlineText) and isinstance(description.primary_renderable, Text):
        text = description.primary_renderable
        text.plain = filled(text.plain)
    return description
