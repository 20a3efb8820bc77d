"""The text of an answer, told piece by piece while the answer is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_INCOMPLETE = "�"
"""Part of a character, which the next token completes."""


class TextStream:
    """Tells the text of an answer as it grows.

    Text is held back as long as it may change: white space at the end, which an answer loses; parts
    of characters; and the beginning of a stop string.

    Args:
        tell: gets the pieces.
        stops: the stop strings, before which the answer ends.
    """

    def __init__(self, tell: Callable[[str], object], stops: Sequence[str]) -> None:
        self._tell, self._stops, self._told = tell, stops, ""

    def update(self, text: str) -> None:
        """Tell the part of an unfinished answer that no further token changes."""
        held = max((_overlap(text, stop) for stop in self._stops), default=0)
        self.finish(text[: len(text) - held].rstrip(_INCOMPLETE).strip())

    def finish(self, text: str) -> None:
        """Tell the rest of an answer."""
        # A tokenizer may write earlier tokens otherwise once it sees the next; then wait.
        if len(text) > len(self._told) and text.startswith(self._told):
            self._tell(text[len(self._told) :])
            self._told = text


def _overlap(text: str, string: str) -> int:
    """The length of the longest beginning of ``string`` that ends ``text``."""
    longest = min(len(text), len(string))
    return next((n for n in range(longest, 0, -1) if text.endswith(string[:n])), 0)
