"""Tool calls matched to their results, with ids in a chat template's format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from luthier.core.example import Message, ToolCall

MakeId = Callable[[ToolCall, int], str]
"""The id of a call, from the call and its number in the conversation."""


def own_id(call: ToolCall, number: int) -> str:
    """The call's id in the row."""
    return call.id


def nine_letters(call: ToolCall, number: int) -> str:
    """An id of nine letters and digits, as Mistral's templates require."""
    return f"call{number:05d}"


def by_function(call: ToolCall, number: int) -> str:
    """An id in Kimi's format with the function's name, which its templates write nowhere else."""
    return f"functions.{call.name}:{number}"


def matched_calls(turns: Sequence[Message], make_id: MakeId) -> list[Message]:
    """The turns with the function's name in each result, matched by id or else by order.

    Args:
        turns: a conversation.
        make_id: makes the ids of its calls and of their results.
    """
    matched: list[Message] = []
    waiting: list[tuple[ToolCall, ToolCall]] = []  # the row's call, and the renamed one
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
