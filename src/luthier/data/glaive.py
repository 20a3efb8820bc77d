"""Conversations with function calls in one text, as in glaive's function-calling data."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from luthier.core.example import Message, Role, ToolCall
from luthier.data.fields import Fields
from luthier.data.json_text import parse_json
from luthier.data.tool_calls import arguments_text
from luthier.data.turns import Turn

_SPEAKER = re.compile(r"(?:\A|\n)[ \t]*(USER|ASSISTANT|FUNCTION RESPONSE):[ \t]*")
_ROLES: dict[str, Role] = {"USER": "user", "ASSISTANT": "assistant", "FUNCTION RESPONSE": "tool"}
_END = "<|endoftext|>"
_CALL = "<functioncall>"
_NAME = re.compile(
    r'\{\s*"name"\s*:\s*"([^"]+)"\s*(?:,\s*"arguments"\s*:\s*(.*?))?\s*\}\s*\Z', re.S
)
_OFFER = re.compile(r"\s*with access to the following functions\b.*\Z", re.S)


class System(NamedTuple):
    """A system text without its functions, and the functions as objects."""

    text: str
    functions: list[Any]


def glaive_turns(row: Fields, key: str) -> list[Turn]:
    """The turns of a text such as ``USER: … ASSISTANT: <functioncall> {…} FUNCTION RESPONSE: …``.

    Raises:
        DataError: the text does not start with a speaker, or a call is invalid.
    """
    pieces = _SPEAKER.split(row.text(key))
    if pieces[0].strip() or len(pieces) < 3:
        raise row.error("the text does not start with USER:, ASSISTANT: or FUNCTION RESPONSE:", key)
    turns = []
    for index, (speaker, text) in enumerate(zip(pieces[1::2], pieces[2::2], strict=True)):
        place = f"{key}[{index}]"
        role = _ROLES[speaker]
        said = text.replace(_END, "").strip()
        calls: tuple[ToolCall, ...] = ()
        if role == "assistant" and _CALL in said:
            said, *written = said.split(_CALL)
            calls = tuple(_call(row, place, one) for one in written)
        if not said and not calls and role != "tool":
            raise row.error("the text is empty", place)
        turns.append(Turn(Message(role, said.strip(), tool_calls=calls), place))
    return turns


def glaive_system(row: Fields, text: str) -> System:
    """The system text ``SYSTEM: You are … with access to the following functions …``, split in two.

    The sentence that offers the functions is removed, because a chat template adds its own.

    Raises:
        DataError: the functions are not JSON.
    """
    text = re.sub(r"\A\s*SYSTEM:\s*", "", text)
    offer = _OFFER.search(text)
    if offer is None:
        return System(text.strip(), [])
    begin = text.find("{", offer.start())
    functions = []
    decoder = json.JSONDecoder()
    while begin >= 0:
        try:
            function, end = decoder.raw_decode(text, begin)
        except (ValueError, RecursionError):
            raise row.error("the functions in the system text are invalid JSON", "system") from None
        functions.append(function)
        begin = text.find("{", end)
    before = text[: offer.start()].strip()
    return System(before if not before or before[-1] in ".!?" else f"{before}.", functions)


def _call(row: Fields, place: str, text: str) -> ToolCall:
    """A call such as ``{"name": "f", "arguments": '{"x": 1}'}``, whose quotes are not JSON."""
    found = _NAME.match(text.strip())
    if found is None:
        raise row.error("the call after <functioncall> is invalid", place)
    arguments = (found[2] or "").strip()
    if arguments[:1] == "'" == arguments[-1:]:
        arguments = arguments[1:-1].replace("\\'", "'")
    try:
        if arguments[:1] == '"':
            arguments = parse_json(arguments)
        return ToolCall(found[1], arguments_text(arguments))
    except ValueError as error:
        raise row.error(str(error), place) from None
