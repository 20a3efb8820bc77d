"""Streaming of an answer's text while the answer is generated."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_INCOMPLETE = "�"
"""The replacement character: the tokenizer decodes an incomplete character to it."""


class TextStream:
    """Streams the text of an answer as it grows.

    Text that may still change is held back: white space at the end, which is stripped from an
    answer; incomplete characters; and the beginning of a stop string.

    Args:
        tell: receives the pieces.
        stops: the stop strings; the answer ends before the first of them.
    """

    def __init__(self, tell: Callable[[str], object], stops: Sequence[str]) -> None:
        self._tell, self._stops, self._told = tell, stops, ""

    def update(self, text: str) -> None:
        """Stream the part of an unfinished answer that no further token can change."""
        held = max((_overlap(text, stop) for stop in self._stops), default=0)
        self.finish(text[: len(text) - held].rstrip(_INCOMPLETE).strip())

    def finish(self, text: str) -> None:
        """Stream the rest of an answer."""
        # A tokenizer may decode earlier tokens differently once it sees the next one; then wait.
        if len(text) > len(self._told) and text.startswith(self._told):
            self._tell(text[len(self._told) :])
            self._told = text


def _overlap(text: str, string: str) -> int:
    """The length of the longest prefix of ``string`` that is a suffix of ``text``."""
    longest = min(len(text), len(string))
    return next((n for n in range(longest, 0, -1) if text.endswith(string[:n])), 0)
