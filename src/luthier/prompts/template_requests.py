"""Requests for chat templates, which can be rendered ahead."""

from __future__ import annotations

from typing import NamedTuple

from luthier.core.example import Message


class Draft(NamedTuple):
    """A conversation to be rendered.

    Attributes:
        turns: the turns of the conversation.
        ask: whether to end with the generation prompt.
    """

    turns: tuple[Message, ...]
    ask: bool

    @property
    def characters(self) -> int:
        """The number of characters of all turns."""
        return sum(len(turn.content) + len(turn.reasoning) for turn in self.turns)
