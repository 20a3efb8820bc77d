"""What is asked of a chat template, so that it can be asked ahead."""

from __future__ import annotations

from typing import NamedTuple

from luthier.core.example import Message


class Draft(NamedTuple):
    """A conversation that will be written.

    Attributes:
        turns: who says what.
        ask: end with what stands before an answer.
    """

    turns: tuple[Message, ...]
    ask: bool

    @property
    def characters(self) -> int:
        """Characters of what is said."""
        return sum(len(turn.content) + len(turn.reasoning) for turn in self.turns)
