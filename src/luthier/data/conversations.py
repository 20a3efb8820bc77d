"""Arrangement of turns into conversations that end with an answer: order and merging."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

from luthier.config.data import DataConfig
from luthier.core.errors import DataError
from luthier.core.example import Message
from luthier.data.fields import DROP_FIX, Notes, field_error
from luthier.data.turns import Turn

_GAP = "\n\n"
_KEPT = "a system message that is kept in the middle"
_FOLLOWS = {
    "": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
    _KEPT: ("user", "assistant"),
}
"""The roles that may follow each role; several results may follow several calls."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The treatment of ambiguous rows; fields as in `DataConfig`."""

    consecutive_turns: Literal["error", "merge"] = "error"
    opening: Literal["error", "keep", "drop"] = "error"
    ending: Literal["error", "drop"] = "error"
    system_turns: Literal["error", "merge", "keep"] = "error"
    refusals: Literal["error", "train"] = "error"
    weight: str | None = None
    ignore_keys: frozenset[str] = frozenset()

    @classmethod
    def of(cls, data: DataConfig) -> Self:
        """The rules in a configuration."""
        return cls(
            consecutive_turns=data.consecutive_turns,
            opening=data.opening,
            ending=data.ending,
            system_turns=data.system_turns,
            refusals=data.refusals,
            weight=data.weight,
            ignore_keys=frozenset(data.ignore_keys),
        )

    def without_weight(self) -> Self:
        """The rules for rows that are not trained on, where the weight column is ignored."""
        if self.weight is None:
            return self
        return replace(self, weight=None, ignore_keys=self.ignore_keys | {self.weight})


def arrange(turns: Sequence[Turn], key: str, where: str, rules: Rules, notes: Notes) -> list[Turn]:
    """The turns in the order that chat templates support, ending with an answer.

    An optional system message comes first. Then user and assistant alternate; tool results come
    between a call and the assistant's answer to it. Calls in separate turns after the assistant's
    text or other calls are merged into the same turn.

    Args:
        turns: the turns of a row.
        key: the column named in errors about the whole conversation.
        where: the row's location.
        rules: the treatment of turns in another order.
        notes: receives turns that are dropped.

    Raises:
        DataError: the turns are in another order that the rules do not cover.
    """
    turns = _without_late_systems(turns, where, rules)
    turns = _merged(turns, where, rules)
    turns = _without_opening(turns, where, rules, notes)
    turns = _without_ending(turns, key, where, rules, notes)
    previous = ""
    for index, turn in enumerate(turns):
        role = turn.message.role
        if role == "system" and index and rules.system_turns == "keep":
            previous = _KEPT
            continue
        opens = role == "assistant" and rules.opening == "keep" and previous in ("", "system")
        if role not in _FOLLOWS[previous] and not (opens and index < len(turns) - 1):
            raise _order_error(turn, previous, where)
        previous = role
    return turns


def end_with_trained(messages: Sequence[Message], where: str, notes: Notes) -> list[Message]:
    """The messages up to the last trained answer.

    Later ones are neither trained nor good references. Without a trained answer, all are kept, and
    the row as a whole is left out.
    """
    trained = [i for i, one in enumerate(messages) if one.role == "assistant" and one.is_trained]
    if not trained or trained[-1] == len(messages) - 1:
        return list(messages)
    notes.add("turns after the last trained answer are dropped", where)
    return list(messages[: trained[-1] + 1])


def _merged(turns: Sequence[Turn], where: str, rules: Rules) -> list[Turn]:
    """The turns, with consecutive ones of one role joined if allowed."""
    merged: list[Turn] = []
    for turn in turns:
        same = bool(merged) and merged[-1].message.role == turn.message.role
        if not same or turn.message.role == "tool":
            merged.append(turn)
        elif rules.consecutive_turns == "merge" or turn.is_call:
            merged[-1] = _joined(merged[-1], turn, where)
        else:
            raise field_error(
                f"two turns of the {turn.message.role} in a row",
                where,
                turn.place,
                "join them with data.consecutive_turns=merge, "
                "or drop such rows with data.invalid=drop",
            )
    return merged


def _joined(first: Turn, second: Turn, where: str) -> Turn:
    one, other = first.message, second.message
    if one.is_trained is not other.is_trained:
        raise field_error(
            "two turns of the assistant in a row cannot be joined: only one of them is trained",
            where,
            second.place,
        )
    if one.tool_calls and other.content:
        raise field_error(
            "the assistant continues in a separate turn after a call, before the result",
            where,
            second.place,
        )
    return first._replace(
        message=replace(
            one,
            content=_GAP.join(text for text in (one.content, other.content) if text),
            reasoning=_GAP.join(text for text in (one.reasoning, other.reasoning) if text),
            tool_calls=one.tool_calls + other.tool_calls,
        ),
        is_call=second.is_call,
    )


def _without_late_systems(turns: Sequence[Turn], where: str, rules: Rules) -> list[Turn]:
    """The turns, with later system messages joined to user turns if configured."""
    if rules.system_turns != "merge":
        return list(turns)
    begin = next((i for i, turn in enumerate(turns) if turn.message.role != "system"), 0)
    kept, waiting = list(turns[:begin]), list[Turn]()
    for turn in turns[begin:]:
        role = turn.message.role
        if role == "system":
            waiting.append(turn)
            continue
        if waiting and role == "user":
            turn = _with_content(turn, (*waiting, turn))
        elif waiting and kept and kept[-1].message.role == "user":
            kept[-1] = _with_content(kept[-1], (kept[-1], *waiting))
        elif waiting:
            raise _order_error(waiting[0], role, where)
        waiting = []
        kept.append(turn)
    return kept + waiting


def _with_content(turn: Turn, parts: Sequence[Turn]) -> Turn:
    content = _GAP.join(part.message.content for part in parts)
    return turn._replace(message=replace(turn.message, content=content))


def _without_opening(turns: list[Turn], where: str, rules: Rules, notes: Notes) -> list[Turn]:
    """The turns without the assistant's opening before the user, if configured."""
    begin = 1 if turns and turns[0].message.role == "system" else 0
    if rules.opening != "drop" or len(turns) <= begin:
        return turns
    if turns[begin].message.role != "assistant":
        return turns
    notes.add("an assistant turn before the user's is dropped (data.opening)", where)
    return turns[:begin] + turns[begin + 1 :]


def _without_ending(
    turns: list[Turn], key: str, where: str, rules: Rules, notes: Notes
) -> list[Turn]:
    """The turns up to the last answer."""
    answers = [index for index, turn in enumerate(turns) if turn.message.role == "assistant"]
    end = answers[-1] + 1 if answers else 0
    if end == len(turns) > 0:
        return turns
    if rules.ending == "drop" and end:
        notes.add("turns after the last answer are dropped (data.ending)", where)
        return turns[:end]
    place = turns[-1].place if turns else key
    fix = (
        "drop the turns after the last answer with data.ending=drop, "
        "or drop such rows with data.invalid=drop"
    )
    raise field_error(
        "the conversation does not end with the assistant's answer"
        if answers
        else "this conversation has no assistant turn, so it does not end with an answer",
        where,
        place,
        fix if answers else DROP_FIX,
    )


def _order_error(turn: Turn, previous: str, where: str) -> DataError:
    role, fix = turn.message.role, DROP_FIX
    if role == "system":
        problem = "a system message is in the middle of the conversation"
        fix = (
            "join it with the user's turn with data.system_turns=merge, keep it with "
            "data.system_turns=keep, or drop such rows with data.invalid=drop"
        )
    elif role == "tool":
        problem = (
            f"a tool's result follows {f'the {previous}' if previous else 'nothing'}, not a call"
        )
    elif previous == "tool":
        problem = "the assistant does not respond to a tool's result before the user's turn"
    else:
        problem = "the conversation starts with the assistant, not with the user"
        fix = (
            "keep such a greeting with data.opening=keep, drop it with data.opening=drop, "
            "or drop such rows with data.invalid=drop"
        )
    return field_error(problem, where, turn.place, fix)
