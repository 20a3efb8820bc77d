"""Checks that a chat template wrote all of its input.

Templates are untrusted programs: they drop unknown roles, iterate over a text as if it were a list,
cut reasoning, or escape JSON. So each rendered conversation is checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any

from luthier.core.errors import DataError
from luthier.core.example import Message, ToolCall

_QUOTED = 60
_SEARCHED = 20_000
"""The number of characters that are searched for a text like a turn."""
_ALIKE = 0.6
_FIX = (
    "give a template that writes it with prompt.chat_template=FILE.jinja, "
    "or set prompt.chat_template to never"
)
_OWNER = {
    "system": "the system message",
    "user": "the user's message",
    "assistant": "the answer",
    "tool": "the tool's result",
}


def is_in(wanted: str, text: str) -> bool:
    """Whether ``text`` contains ``wanted``, up to white space and JSON escapes."""
    wanted = wanted.strip()
    if wanted in text:
        return True
    bare = _squeezed(text)
    return _squeezed(wanted) in bare or _squeezed(json.dumps(wanted, ensure_ascii=False)) in bare


def require_turns(turns: Iterable[Message], text: str, where: str, whole: str = "") -> None:
    """Check that the template wrote every turn.

    Args:
        turns: the template's input.
        text: the text that must contain them.
        where: the row's place.
        whole: the template's whole output, if ``text`` is a part of it.

    Raises:
        DataError: a turn is missing or was changed.
    """
    turns = list(turns)
    for turn in turns:
        if turn.tool_calls:
            _require_calls(turn.tool_calls, text, where)
        if turn.content.strip() and not (_is_written(turn, text) and _often(turn, turns, text)):
            quoted = " ".join(turn.content.split())[:_QUOTED]
            others = (other.content for other in turns if other is not turn)
            made = _most_alike(quoted, _without(others, whole or text))
            raise DataError(
                f"the chat template changes {_OWNER[turn.role]}: it writes {made!r}"
                if made
                else f"the chat template leaves out {_OWNER[turn.role]}",
                where=f"{where} ({quoted!r})",
                fix=_FIX,
            )


def require_tools(tools: Sequence[Any], text: str, where: str) -> None:
    """Check that the template wrote the names of all tools.

    Raises:
        DataError: a name is missing.
    """
    for tool in tools:
        name = tool_name(tool)
        if name and not is_in(name, text):
            raise no_tools(f"the tool {name!r}", where)


def no_tools(what: str, where: str) -> DataError:
    """The error for a row with tools that the template does not write."""
    return DataError(
        f"this chat template has no tools: it leaves out {what}",
        where=where,
        fix="use a model whose template has tools, or give a template with "
        "prompt.chat_template=FILE.jinja",
    )


def tool_name(tool: Any) -> str:
    """The name of a tool in a list of tools, in OpenAI's form or a bare function."""
    function = tool.get("function", tool) if isinstance(tool, dict) else tool
    name = function.get("name", "") if isinstance(function, dict) else function
    return name if isinstance(name, str) else ""


def holds_calls(calls: Iterable[ToolCall], text: str) -> bool:
    """Whether ``text`` has all calls with their arguments."""
    return all(is_in(part, text) for call in calls for part in _parts(call))


def _require_calls(calls: Iterable[ToolCall], text: str, where: str) -> None:
    for call in calls:
        if not holds_calls((call,), text):
            raise no_tools(f"the call of {call.name!r}", where)


def _is_written(turn: Message, text: str) -> bool:
    if is_in(turn.content, text):
        return True
    if turn.role != "tool":
        return False
    try:  # some templates parse a JSON result and write it in another format
        leaves = list(_leaves(json.loads(turn.content)))
    except ValueError:
        return False
    return all(is_in(leaf, text) for leaf in leaves)


def _often(turn: Message, turns: Iterable[Message], text: str) -> bool:
    """Whether a turn's text occurs as often as in all turns: a short one may be in others too."""
    wanted = turn.content.strip()
    times = sum(other.content.count(wanted) for other in turns if other.role != "tool")
    return wanted not in text or text.count(wanted) >= times


def _parts(call: ToolCall) -> Iterator[str]:
    yield call.name
    try:
        yield from _leaves(json.loads(call.arguments))
    except ValueError:
        yield call.arguments


def _leaves(value: Any) -> Iterator[str]:
    """The texts and numbers in a JSON value, with the keys."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield json.dumps(value)


def _without(parts: Iterable[str], text: str) -> str:
    for part in filter(None, map(str.strip, parts)):
        text = text.replace(part, "\0")
    return text


def _most_alike(wanted: str, text: str) -> str:
    """The part of a template's text that is most like a wanted text.

    Returns:
        An empty text if no part is similar.
    """
    text = " ".join(text[-_SEARCHED:].split())
    matcher = SequenceMatcher(None, text.lower(), wanted.lower(), autojunk=False)
    match = matcher.find_longest_match()
    begin = max(0, match.a - match.b)
    part = text[begin : begin + len(wanted)]
    matcher.set_seq1(part.lower())
    return part if matcher.ratio() >= _ALIKE else ""


def _squeezed(text: str) -> str:
    return "".join(text.split())
