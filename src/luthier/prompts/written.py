"""A conversation as text, with the places of its answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """The place of an answer in a text, in characters.

    Attributes:
        asked: the end of the prompt.
        content: the start of the answer after its reasoning; ``asked`` if it has none.
        end: the end of the turn.
        is_trained: whether the answer counts in the loss.
    """

    asked: int
    content: int
    end: int
    is_trained: bool = True


@dataclass(frozen=True, slots=True)
class Written:
    """A conversation as text.

    Attributes:
        text: the conversation up to the end of the last answer.
        answers: the places of the answers, in order; at least one.
        trains_prompt: whether the other tokens can be trained too. They cannot if a conversation
            has several texts, because each text would count them again.
    """

    text: str
    answers: tuple[Span, ...]
    trains_prompt: bool = True
