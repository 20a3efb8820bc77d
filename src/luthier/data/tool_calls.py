"""Functions that a row offers, and calls of them, as data sets write them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from luthier.core.example import ToolCall
from luthier.data.fields import Fields, is_empty, kind_of
from luthier.data.json_text import parse_json, to_json

_ARGUMENTS = ("arguments", "parameters")
_CALL = 'a call is an object such as {"name": "weather", "arguments": {"city": "Cremona"}}'
_MAX_DEPTH = 50
Declared = Mapping[str, Collection[str]]
"""The names of each function's arguments, where the row declares them."""


def read_tools(row: Fields) -> str:
    """The functions that a row offers, as a JSON list; empty for none.

    ``tools`` or OpenAI's older ``functions``, as a list or as its JSON text. A function that stands
    there bare is put into ``{"type": "function", "function": …}``, which chat templates expect.

    Raises:
        DataError: they are not a list of objects with names.
    """
    key = row.first(("tools", "functions"), "")
    return tools_text(row, key, row.decoded(key)) if key else ""


def tools_text(row: Fields, key: str, value: Any) -> str:
    """Functions that were found under ``key``, as a JSON list; empty for none.

    Raises:
        DataError: they are not a list of objects with names.
    """
    if is_empty(value):
        return ""
    tools = [value] if isinstance(value, Mapping) else value
    if not isinstance(tools, list):
        raise row.error(f"tools are a list of objects, and this is {kind_of(tools)}", key)
    wrapped = [_tool(row, f"{key}[{index}]", tool) for index, tool in enumerate(tools)]
    try:
        return to_json(wrapped)
    except ValueError as error:
        raise row.error(f"the tools cannot be used: {error}", key) from None


def declared_arguments(tools: str) -> dict[str, frozenset[str]]:
    """The arguments that each of the functions of a row takes."""
    found = {}
    for tool in parse_json(tools) if tools else ():
        function = tool.get("function", tool)
        parameters = function.get("parameters")
        properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
        if isinstance(properties, Mapping):
            found[str(function["name"])] = frozenset(properties)
    return found


def read_calls(turn: Fields, declared: Declared) -> tuple[ToolCall, ...]:
    """The functions that a turn calls: ``tool_calls``, or OpenAI's older ``function_call``.

    Args:
        turn: the turn.
        declared: as `declared_arguments` gives it.

    Raises:
        DataError: they are not calls.
    """
    calls: list[ToolCall] = []
    for key in ("tool_calls", "function_call"):
        if turn.has(key):
            calls += calls_in(turn, key, declared)
    return tuple(calls)


def calls_in(turn: Fields, key: str, declared: Declared) -> list[ToolCall]:
    """The calls under a key: an object or a list of them, maybe as JSON text.

    Raises:
        DataError: they are not calls.
    """
    value = turn.decoded(key)
    if isinstance(value, Mapping):
        return [_call(turn, key, value, declared)]
    if not isinstance(value, list) or not value:
        raise turn.error(f"{_CALL}, and this is {kind_of(value)}", key)
    return [_call(turn, f"{key}[{index}]", item, declared) for index, item in enumerate(value)]


def call_text(call: ToolCall) -> str:
    """A call as text: what an answer that only calls is compared by."""
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
        raise ValueError(f"arguments are an object or its JSON text, and this is {kind_of(value)}")
    try:
        parsed = parse_json(value)
    except ValueError as error:
        raise ValueError(f"the arguments are a text that is not JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise ValueError(f"the arguments are {kind_of(parsed)} as JSON, not an object")
    return value.strip()


def _tool(row: Fields, place: str, tool: Any) -> dict[str, Any]:
    if not isinstance(tool, Mapping):
        raise row.error(f"a tool is an object, and this is {kind_of(tool)}", place)
    function = tool.get("function") if not is_empty(tool.get("function")) else tool
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str) or not name:
        raise row.error("the tool has no name", place, 'a tool is {"name": …, "parameters": …}')
    try:
        cleaned = _without_padding(tool)
    except RecursionError:
        raise row.error("the tool is nested too deep", place) from None
    return cleaned if "function" in cleaned else {"type": "function", "function": cleaned}


def _without_padding(schema: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """A tool without the nulls that a table of nested columns adds: the arguments of other tools.

    ``default``, ``const`` and what stands in lists keep their nulls: there they say something.
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
        raise turn.error(f"{_CALL}, and this is {kind_of(value)}", place)
    call = turn.inside(place, value)
    kind = call.optional_text("type")
    if kind not in ("", "function"):
        raise call.error(f"a call of the type {kind!r} is not known", "type")
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
            raise fields.error(
                f"a call has the key {left[0]!r}, which is not known", left[0], _call_keys()
            )
    return ToolCall(name, text, identity)


def _call_keys() -> str:
    return (
        "known are id, type, index, function, name and arguments; name others in data.ignore_keys"
    )
