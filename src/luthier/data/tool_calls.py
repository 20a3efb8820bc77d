"""Tools of a row and calls of them, in the notations of published data sets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from luthier.core.example import ToolCall
from luthier.data.fields import Fields, is_empty, kind_of
from luthier.data.json_text import parse_json, to_json

_ARGUMENTS = ("arguments", "parameters")
_CALL = 'a call must be an object such as {"name": "weather", "arguments": {"city": "Cremona"}}'
_MAX_DEPTH = 50
Declared = Mapping[str, Collection[str]]
"""The argument names of each function that the row declares."""


def read_tools(row: Fields) -> str:
    """The tools of a row as a JSON list; empty for none.

    ``tools`` or OpenAI's older ``functions``, as a list or its JSON text. A bare function is
    wrapped in ``{"type": "function", "function": …}``, which chat templates expect.

    Raises:
        DataError: they are not a list of objects with names.
    """
    key = row.first(("tools", "functions"), "")
    return tools_text(row, key, row.decoded(key)) if key else ""


def tools_text(row: Fields, key: str, value: Any) -> str:
    """Tools in ``key`` as a JSON list; empty for none.

    Raises:
        DataError: they are not a list of objects with names.
    """
    if is_empty(value):
        return ""
    tools = [value] if isinstance(value, Mapping) else value
    if not isinstance(tools, list):
        raise row.error(f"tools must be a list of objects, not {kind_of(tools)}", key)
    wrapped = [_tool(row, f"{key}[{index}]", tool) for index, tool in enumerate(tools)]
    try:
        return to_json(wrapped)
    except ValueError as error:
        raise row.error(f"the tools cannot be used: {error}", key) from None


def declared_arguments(tools: str) -> dict[str, frozenset[str]]:
    """The argument names of each declared function."""
    found = {}
    for tool in parse_json(tools) if tools else ():
        function = tool.get("function", tool)
        parameters = function.get("parameters")
        properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
        if isinstance(properties, Mapping):
            found[str(function["name"])] = frozenset(properties)
    return found


def read_calls(turn: Fields, declared: Declared) -> tuple[ToolCall, ...]:
    """The calls of a turn: ``tool_calls``, or OpenAI's older ``function_call``.

    Args:
        turn: the turn.
        declared: the output of `declared_arguments`.

    Raises:
        DataError: they are not valid calls.
    """
    calls: list[ToolCall] = []
    for key in ("tool_calls", "function_call"):
        if turn.has(key):
            calls += calls_in(turn, key, declared)
    return tuple(calls)


def calls_in(turn: Fields, key: str, declared: Declared) -> list[ToolCall]:
    """The calls in a key: an object or a list of them, maybe as JSON text.

    Raises:
        DataError: they are not valid calls.
    """
    value = turn.decoded(key)
    if isinstance(value, Mapping):
        return [_call(turn, key, value, declared)]
    if not isinstance(value, list) or not value:
        raise turn.error(f"{_CALL}, not {kind_of(value)}", key)
    return [_call(turn, f"{key}[{index}]", item, declared) for index, item in enumerate(value)]


def call_text(call: ToolCall) -> str:
    """A call as text, for comparing answers that only call."""
    return f'{{"name": {to_json(call.name)}, "arguments": {call.arguments}}}'


def arguments_text(value: Any) -> str:
    """The arguments of a call as the text of a JSON object.

    Args:
        value: an object, or its text.

    Raises:
        ValueError: it is neither.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return "{}"
    if isinstance(value, Mapping):
        return to_json(dict(value))
    if not isinstance(value, str):
        raise ValueError(f"arguments must be an object or its JSON text, not {kind_of(value)}")
    try:
        parsed = parse_json(value)
    except ValueError as error:
        raise ValueError(f"the arguments are invalid JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise ValueError(f"the arguments are {kind_of(parsed)} as JSON, not an object")
    return value.strip()


def _tool(row: Fields, place: str, tool: Any) -> dict[str, Any]:
    if not isinstance(tool, Mapping):
        raise row.error(f"a tool must be an object, not {kind_of(tool)}", place)
    function = tool.get("function") if not is_empty(tool.get("function")) else tool
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str) or not name:
        raise row.error("the tool has no name", place, 'write it as {"name": …, "parameters": …}')
    try:
        cleaned = _without_padding(tool)
    except RecursionError:
        raise row.error("the tool is nested too deep", place) from None
    return cleaned if "function" in cleaned else {"type": "function", "function": cleaned}


def _without_padding(schema: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """A tool without the nulls that a table with nested columns adds for other tools' arguments.

    ``default``, ``const`` and list items keep their nulls, which are meaningful there.
    """
    if depth > _MAX_DEPTH:
        raise RecursionError
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("default", "const", "examples", "example"):
            kept[key] = value
        elif isinstance(value, Mapping):
            kept[key] = _without_padding(value, depth + 1)
        elif isinstance(value, list):
            kept[key] = [
                _without_padding(item, depth + 1) if isinstance(item, Mapping) else item
                for item in value
            ]
        elif value is not None:
            kept[key] = value
    return kept


def _call(turn: Fields, place: str, value: Any, declared: Declared) -> ToolCall:
    if not isinstance(value, Mapping):
        raise turn.error(f"{_CALL}, not {kind_of(value)}", place)
    call = turn.inside(place, value)
    kind = call.optional_text("type")
    if kind not in ("", "function"):
        raise call.error(f"unknown call type {kind!r}", "type")
    call.get("index")
    identity = call.optional_text("id")
    inner = value.get("function")
    function = call
    if isinstance(inner, Mapping):
        call.get("function")
        function = call.inside("function", inner)
    name = function.text("name").strip()
    key = function.first(_ARGUMENTS, _ARGUMENTS[0])
    arguments = function.get(key)
    if isinstance(arguments, Mapping) and name in declared:
        known = declared[name]
        arguments = {k: v for k, v in arguments.items() if v is not None or k in known}
    try:
        text = arguments_text(arguments)
    except ValueError as error:
        raise function.error(str(error), key) from None
    for fields in (call, function):
        if left := list(fields.unread()):
            raise fields.error(f"unknown key {left[0]!r} of a call", left[0], _call_keys())
    return ToolCall(name, text, identity)


def _call_keys() -> str:
    return "known keys: id, type, index, function, name, arguments; others go into data.ignore_keys"
