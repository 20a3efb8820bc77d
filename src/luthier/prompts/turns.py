"""The turns of an example, with its system message and reasoning as configured."""

from __future__ import annotations

from dataclasses import replace

from luthier.config.prompt import Reasoning
from luthier.core.example import Example, Message
from luthier.prompts.reasoning import KNOWN_TAGS, thought_of


def asked_turns(example: Example, system: str | None, reasoning: Reasoning) -> tuple[Message, ...]:
    """The turns of a prompt.

    Args:
        example: the example; its references are ignored.
        system: a system message for examples that have none; None: no message is added.
        reasoning: whether earlier answers keep their reasoning.
    """
    turns = tuple(with_reasoning(turn, reasoning) for turn in example.messages)
    if system is None or example.messages[0].role == "system":
        return turns
    return (Message("system", system), *turns)


def with_reasoning(turn: Message, reasoning: Reasoning) -> Message:
    """A turn, without its reasoning if ``reasoning`` is ``drop``."""
    if reasoning != "drop" or turn.role != "assistant":
        return turn
    return replace(turn, content=thought_of(turn, KNOWN_TAGS[0])[1], reasoning="")
