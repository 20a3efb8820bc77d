"""Turns as data sets write them, checked and turned into messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from luthier.core.errors import DataError
from luthier.core.example import Message, Role

_DROP_FIX = "mend the row, or drop such rows with data.invalid=drop"


def field_error(problem: str, where: str, field: str, fix: str = _DROP_FIX) -> DataError:
    """An error in one field of a row."""
    return DataError(problem, where=f'{where}, field "{field}"', fix=fix)


def text_field(values: Mapping[str, Any], key: str, where: str, *, field: str = "") -> str:
    """The text under ``key``, without the blanks at its end.

    Args:
        values: a row, or a part of one.
        key: the key.
        where: the row's place.
        field: how errors call the field, where that is not the key.

    Raises:
        DataError: it is missing, not a text, or empty.
    """
    text = optional_text_field(values, key, where, field=field)
    if not text.strip():
        present = key in values and values[key] is not None
        raise field_error("the text is empty" if present else "it is missing", where, field or key)
    return text


def optional_text_field(values: Mapping[str, Any], key: str, where: str, *, field: str = "") -> str:
    """The text under ``key`` without the blanks at its end; empty where there is none.

    Raises:
        DataError: it is not a text.
    """
    value = values.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise field_error(
            f"this is not a text but {_kind(value)}",
            where,
            field or key,
            "write it in quotes, or make a text of it with a template",
        )
    return value.rstrip()


def list_field(values: Mapping[str, Any], key: str, where: str) -> Sequence[Any]:
    """The list under ``key``.

    Raises:
        DataError: it is missing, not a list, or empty.
    """
    value = values.get(key)
    if not isinstance(value, list):
        raise field_error(f"this is not a list but {_kind(value)}", where, key)
    if not value:
        raise field_error("the list is empty", where, key)
    return value


def read_turns(
    values: Mapping[str, Any],
    key: str,
    names: tuple[str, str],
    roles: Mapping[str, Role],
    where: str,
) -> list[Message]:
    """The turns in a list of objects such as ``{"role": "user", "content": "Hello"}``.

    Args:
        values: the row.
        key: the column of the list.
        names: the keys of the role and of the text in each object.
        roles: our role for each one in the data.
        where: the row's place.

    Raises:
        DataError: a turn is not an object, is empty, or has an unknown role.
    """
    role_key, text_key = names
    turns = []
    for index, turn in enumerate(list_field(values, key, where)):
        place = f"{key}[{index}]"
        if not isinstance(turn, Mapping):
            raise field_error(f"a turn is an object, and this is {_kind(turn)}", where, place)
        name = text_field(turn, role_key, where, field=f"{place}.{role_key}")
        if name not in roles:
            raise field_error(
                f"the role {name!r} is not known",
                where,
                f"{place}.{role_key}",
                f"known roles are {', '.join(roles)}; tool calls are not supported",
            )
        turns.append(Message(roles[name], _content(turn, text_key, where, f"{place}.{text_key}")))
    return turns


def check_order(turns: Sequence[Message], key: str, where: str) -> None:
    """Check that a system message comes first, if at all, then user and assistant take turns.

    Raises:
        DataError: they do not, or the last turn is not the assistant's.
    """
    begin = 1 if turns and turns[0].role == "system" else 0
    expected: tuple[Role, Role] = ("user", "assistant")
    for index in range(begin, len(turns)):
        role = turns[index].role
        wanted = expected[(index - begin) % 2]
        if role != wanted:
            raise field_error(
                _order_problem(role, wanted, index == begin), where, f"{key}[{index}]"
            )
    if not turns or turns[-1].role != "assistant":
        last = max(0, len(turns) - 1)
        raise field_error(
            "the conversation does not end with the assistant's answer", where, f"{key}[{last}]"
        )


def _order_problem(role: Role, wanted: Role, is_first: bool) -> str:
    if role == "system":
        return "a system message stands in the middle of the conversation"
    if is_first:
        return f"the conversation begins with the {role}, not with the {wanted}"
    return f"two turns of the {role} in a row"


def _content(turn: Mapping[str, Any], key: str, where: str, field: str) -> str:
    """The text of a turn, which may also be given as a list of text parts.

    Raises:
        DataError: there is no text, or something beside it, such as an image or a tool call.
    """
    if turn.get("tool_calls") or turn.get("function_call"):
        raise field_error("a turn calls a tool, which is not supported", where, field)
    parts = turn.get(key)
    if not isinstance(parts, list):
        return text_field(turn, key, where, field=field)
    texts = []
    for part in parts:
        if not isinstance(part, Mapping) or part.get("type") != "text":
            raise field_error("a part of the turn is not text", where, field)
        texts.append(text_field(part, "text", where, field=f"{field}.text"))
    return text_field({key: "\n".join(texts)}, key, where, field=field)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")
