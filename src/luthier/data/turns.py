"""The reader of turns, for all key and role names of published data sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from luthier.core.example import Message, Role
from luthier.core.names import listed, named
from luthier.data.fields import Fields, Notes, is_empty, kind_of
from luthier.data.flag_names import FLAGS
from luthier.data.flags import turn_flag
from luthier.data.json_text import to_json
from luthier.data.tool_calls import Declared, calls_in, read_calls

ROLE_KEYS = ("role", "from")
TEXT_KEYS = ("content", "value", "text")
REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
_CALLERS = ("function_call", "tool_call")
"""Roles whose text is a call in JSON."""
ROLES: dict[str, Role] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(
        ("assistant", "gpt", "chatgpt", "model", "bot", "chatbot", "ai", *_CALLERS), "assistant"
    ),
    **dict.fromkeys(
        ("tool", "function", "observation", "ipython", "tool_response", "tool_result"), "tool"
    ),
}
"""The role for each name, ignoring case."""
_HARMLESS = frozenset(
    {"id", "uuid", "message_id", "turn_id", "turn_identifier", "turn", "index", "idx", "name"}
    | {"timestamp", "created", "created_at", "date", "time", "source", "url", "author", "usage"}
    | {"model", "model_name", "lang", "language", "tokens", "num_tokens", "token_count"}
    | {"finish_reason", "tool_call_id"}
)
"""Keys beside a text that are neither text nor training flags."""
_REFUSAL = "refusal"
_CALLS = ("tool_calls", "function_call")
_KNOWN = (*ROLE_KEYS, *TEXT_KEYS, *REASONING_KEYS, *_CALLS, _REFUSAL, *FLAGS)
_QUOTED = 60
_TEXT_PARTS = ("text", "input_text", "output_text")
_THINKING_PARTS = ("thinking", "reasoning")


class Turn(NamedTuple):
    """A message with its location, and whether it continues the preceding call."""

    message: Message
    place: str
    is_call: bool = False


@dataclass(frozen=True, slots=True)
class TurnReader:
    """A reader of the turns of one row.

    Attributes:
        notes: receives ignored keys.
        declared: the arguments of the row's tools.
        trains_refusals: whether refusals in a separate key are trained as answers.
    """

    notes: Notes
    declared: Declared = field(default_factory=dict)
    trains_refusals: bool = False

    def turns(self, row: Fields, key: str, *, is_trained: bool = True) -> list[Turn]:
        """The turns in a list of objects such as ``{"role": "user", "content": "Hello"}``.

        Args:
            row: the row.
            key: the column with the list.
            is_trained: whether unmarked answers are trained.

        Raises:
            DataError: a turn is not an object, is empty, or has an unknown role or key.
        """
        turns: list[Turn] = []
        for index, value in enumerate(_objects(row, key)):
            place = f"{key}[{index}]"
            if not isinstance(value, Mapping):
                raise row.error(f"a turn must be an object, not {kind_of(value)}", place)
            fields = row.inside(place, value)
            if _is_exchange(fields):
                turns += self._exchange(fields, is_trained)
            else:
                turns.append(self._turn(fields, is_trained))
        return [turn for turn in turns if turn.message.role != "system" or turn.message.content]

    def _exchange(self, pair: Fields, is_trained: bool) -> list[Turn]:
        """Question and answer in one object, as in XTuner's and Capybara's data."""
        flag = turn_flag(pair)
        answer = Message(
            "assistant", pair.text("output"), is_trained=is_trained if flag is None else flag
        )
        self._refuse_unread(pair, "system", "input", "output")
        return [
            Turn(Message("system", pair.optional_text("system")), pair.place("system")),
            Turn(Message("user", pair.text("input")), pair.place("input")),
            Turn(answer, pair.place("output")),
        ]

    def _turn(self, turn: Fields, is_trained: bool) -> Turn:
        text_key = turn.first(TEXT_KEYS, "content")
        role_key = turn.first(ROLE_KEYS, "from" if text_key == "value" else "role")
        name = turn.text(role_key).strip().lower()
        if name not in ROLES:
            raise turn.error(
                f"unknown role {name[:40]!r}",
                role_key,
                f"known roles: {', '.join(ROLES)}",
            )
        role = ROLES[name]
        flag = turn_flag(turn)
        calls = read_calls(turn, self.declared)
        if name in _CALLERS and not calls:
            calls = tuple(calls_in(turn, text_key, self.declared))
            content, thoughts = "", ""
        else:
            refusal = self._refusal(turn, text_key) if role == "assistant" else ""
            content, thoughts = (
                (refusal, "") if refusal else _content(turn, text_key, role, bool(calls))
            )
        reasoning = turn.optional_text(turn.first(REASONING_KEYS, REASONING_KEYS[0])) or thoughts
        message = Message(role, content)
        if role == "assistant":
            trained = is_trained if flag is None else flag
            message = replace(message, reasoning=reasoning, tool_calls=calls, is_trained=trained)
        elif calls or reasoning:
            what = "calls a tool" if calls else "has a reasoning"
            raise turn.error(f"a turn of the {role} {what}: only the assistant does", role_key)
        elif flag:
            self.notes.add(
                f"a turn of the {role} is marked as trained, but only the assistant's turns can be",
                turn.where,
            )
        if role == "tool":
            call_id, tool = turn.optional_text("tool_call_id"), turn.optional_text("name")
            message = replace(message, name=tool, tool_call_id=call_id)
        self._refuse_unread(turn)
        return Turn(message, turn.path, name in _CALLERS)

    def _refusal(self, turn: Fields, text_key: str) -> str:
        """An OpenAI model's refusal in place of an answer, in a separate key or part.

        Raises:
            DataError: there is one that is not to be trained, or beside an answer.
        """
        key, holder = _REFUSAL, turn
        value = turn.peek(text_key)
        if isinstance(value, list) and len(value) == 1 and _is_refusal(value[0]):
            turn.get(text_key)
            key, holder = text_key, turn.inside(f"{text_key}[0]", value[0])
        elif turn.has(_REFUSAL) and turn.has(text_key):
            raise turn.error("the turn has both a text and a refusal", _REFUSAL)
        refusal = holder.optional_text(_REFUSAL)
        if refusal and not self.trains_refusals:
            raise turn.error(
                f"the answer is a refusal: {refusal[:_QUOTED]!r}",
                key,
                "train such answers with data.refusals=train, "
                "or drop such rows with data.invalid=drop",
            )
        return refusal

    def _refuse_unread(self, turn: Fields, *known: str) -> None:
        """Nothing in a turn is lost silently: harmless keys are counted, others are an error."""
        unread = [key for key in turn.unread() if key not in known]
        if strange := [key for key in unread if key not in _HARMLESS]:
            names = listed(strange, show=named)
            raise turn.error(
                f"unknown key {names} of a turn"
                if len(strange) == 1
                else f"unknown keys {names} of a turn",
                strange[0],
                f"known keys: {', '.join(known or _KNOWN)}; ignore others with data.ignore_keys",
            )
        for key in unread:
            self.notes.add(f"the key {named(key)} of turns is ignored", turn.where)


def _objects(row: Fields, key: str) -> list[Any]:
    """The list in ``key``, which some tables store by columns: ``{"role": […], "content": […]}``.

    Raises:
        DataError: it is not a list.
    """
    value = row.decoded(key)
    if not isinstance(value, Mapping) or not value:
        return row.items(key)
    columns = list(value.values())
    if not all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
        return row.items(key)
    return [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _is_exchange(fields: Fields) -> bool:
    return (
        fields.has("input")
        and fields.has("output")
        and not any(fields.has(key) for key in (*ROLE_KEYS, *TEXT_KEYS))
    )


def _content(turn: Fields, key: str, role: Role, may_be_empty: bool) -> tuple[str, str]:
    """The text of a turn and its reasoning; both may be lists of parts.

    Raises:
        DataError: there is no text, or other content such as an image.
    """
    value = turn.get(key)
    if role == "tool" and not isinstance(value, str) and not _is_parts(value):
        try:  # a structured result: its text is its JSON
            return ("" if is_empty(value) else to_json(value)), ""
        except ValueError as error:
            raise turn.error(str(error), key) from None
    text, thoughts = _joined(turn, key, value) if isinstance(value, list) else (None, "")
    if text is None:
        text = turn.optional_text(key)
    text = text.rstrip()
    if not text and not may_be_empty and role in ("user", "assistant"):
        raise turn.error("this field is missing" if value is None else "the text is empty", key)
    return text, thoughts


def _is_refusal(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") == _REFUSAL


def _is_parts(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(part, str) or (isinstance(part, Mapping) and "type" in part) for part in value
    )


def _joined(turn: Fields, key: str, parts: list[Any]) -> tuple[str, str]:
    """The text parts on separate lines, and the reasoning parts."""
    texts: list[str] = []
    thoughts: list[str] = []
    for index, value in enumerate(parts):
        if isinstance(value, str):
            texts.append(value.rstrip())
            continue
        kind = value.get("type") if isinstance(value, Mapping) else None
        if kind not in (*_TEXT_PARTS, *_THINKING_PARTS):
            said = f"is of the type {kind[:40]!r}" if isinstance(kind, str) else "has no type"
            raise turn.error(f"a part of the turn is not text: it {said}", key)
        part = turn.inside(f"{key}[{index}]", value)
        part.get("type")
        if kind in _TEXT_PARTS:
            texts.append(part.text("text"))
        else:
            thoughts.append(part.text(part.first((*_THINKING_PARTS, "text"), "thinking")))
        if left := list(part.unread()):
            raise part.error(
                f"unknown key {left[0]!r} of a part of a turn",
                left[0],
                "known keys: type and text; ignore others with data.ignore_keys",
            )
    return "\n".join(texts), "\n".join(thoughts)
