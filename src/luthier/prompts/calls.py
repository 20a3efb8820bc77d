"""Calls and their results as chat templates want them: matched, and with ids of their own kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from luthier.core.example import Message, ToolCall

MakeId = Callable[[ToolCall, int], str]
"""The id of a call, from the call and its number in the conversation."""


def own_id(call: ToolCall, number: int) -> str:
    """The id that the row gives it."""
    return call.id


def nine_letters(call: ToolCall, number: int) -> str:
    """Nine letters and digits, as Mistral's templates want it."""
    return f"call{number:05d}"


def by_function(call: ToolCall, number: int) -> str:
    """Kimi's ids: they hold the function's name, and its templates write nothing else of it."""
    return f"functions.{call.name}:{number}"


def matched_calls(turns: Sequence[Message], make_id: MakeId) -> list[Message]:
    """The turns with the name of the function in each result, by its id or else in order.

    Args:
        turns: a conversation.
        make_id: the ids that its calls, and the results of these, are given.
    """
    matched: list[Message] = []
    waiting: list[tuple[ToolCall, ToolCall]] = []  # as the row has it, and as it is given
    number = 0
    for turn in turns:
        given = tuple(
            replace(call, id=make_id(call, index))
            for index, call in enumerate(turn.tool_calls, start=number)
        )
        number += len(given)
        waiting += zip(turn.tool_calls, given, strict=True)
        if given:
            turn = replace(turn, tool_calls=given)
        if turn.role == "tool" and waiting:
            same = (i for i, (call, _) in enumerate(waiting) if call.id == turn.tool_call_id)
            asked, call = waiting.pop(next(same, 0))
            turn = replace(
                turn,
                name=turn.name or call.name,
                tool_call_id=turn.tool_call_id if call.id == asked.id else call.id,
            )
        matched.append(turn)
    return matched
