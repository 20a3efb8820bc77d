"""A conversation as text, with the places of its answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """An answer in a text. Places are characters.

    Attributes:
        asked: where what is asked ends.
        content: where the answer begins behind its reasoning; ``asked`` where it has none.
        end: where the turn ends.
        is_trained: whether the loss counts it.
    """

    asked: int
    content: int
    end: int
    is_trained: bool = True


@dataclass(frozen=True, slots=True)
class Written:
    """A conversation as text.

    Attributes:
        text: up to the end of the last answer.
        answers: where the answers stand, in order; at least one.
        trains_prompt: whether its other tokens can be trained too. Not where it is one of several
            texts of a conversation, which would be counted once for each.
    """

    text: str
    answers: tuple[Span, ...]
    trains_prompt: bool = True
