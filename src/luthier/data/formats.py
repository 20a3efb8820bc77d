"""The shapes that rows come in, how they are told apart, and how they become examples."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from luthier.core.errors import DataError
from luthier.core.example import Example, Message, Role
from luthier.core.seeds import fingerprint
from luthier.data.conversations import (
    check_order,
    field_error,
    list_field,
    optional_text_field,
    read_turns,
    text_field,
)
from luthier.data.readers import Row
from luthier.prompts.template import Template

_PAIRS = (("prompt", "completion"), ("input", "output"), ("question", "answer"))
_CONTEXT = frozenset(
    {"context", "passage", "document", "article", "choices", "options", "A", "B", "choice1"}
    | {"premise", "hypothesis"}
)
"""Columns that belong to a question. Rows with them need a template, or they would be lost."""
_METADATA = frozenset({"id", "url", "source", "title", "date", "timestamp", "meta", "metadata"})
"""Columns beside a text that do not make it a task, as a label would."""
_SHAREGPT_ROLES: dict[str, Role] = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
}
_OPENAI_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


@dataclass(frozen=True, slots=True)
class Format:
    """A shape of rows.

    Attributes:
        name: as in ``data.format``.
        shape: the columns, for people.
        fits: whether a row with these columns can have this shape.
        turns: the conversation of a row, the answer being its last turn.
        reads: those of the columns that it looks at.
    """

    name: str
    shape: str
    fits: Callable[[Collection[str]], bool]
    turns: Callable[[Mapping[str, Any], str], list[Message]]
    reads: Callable[[Collection[str]], Collection[str]]

    def unused(self, values: Mapping[str, Any]) -> list[str]:
        """The columns of a row that say something, and of which nothing comes into the example."""
        known = {*self.reads(values), *_METADATA}
        return [name for name, value in values.items() if value and name not in known]

    def convert(self, row: Row, group: str = "") -> Example:
        """The example that ``row`` stands for.

        Raises:
            DataError: the row does not have this shape; with file, line and field.
        """
        *messages, answer = self.turns(row.values, row.where)
        example = Example("", tuple(messages), (answer.content,), group=group, where=row.where)
        return with_content_id(example)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of any columns, rendered by a template."""

    template: Template
    name: str = "table"

    def convert(self, row: Row, group: str = "") -> Example:
        """The example that ``row`` stands for.

        Raises:
            DataError: the template cannot render the row.
        """
        example = self.template.render(row.values, where=row.where, id="", group=group)
        return with_content_id(example)


def with_content_id(example: Example) -> Example:
    """The example with a fingerprint of its content as its id, wherever its row stands."""
    turns = [text for message in example.messages for text in (message.role, message.content)]
    name = fingerprint(*turns, "\x1e", *example.references, "\x1e", *example.choices)
    return replace(example, id=name)


def detect(columns: Collection[str], where: str = "") -> Format:
    """The format of rows with these columns.

    Raises:
        DataError: none fits, or more than one.
    """
    fitting = [known for known in FORMATS.values() if known.fits(columns)]
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(map(repr, columns))
    if fitting:
        names = " and ".join(known.name for known in fitting)
        raise DataError(
            f"the columns {listed} fit more than one format: {names}",
            where=where,
            fix="say which one with data.format",
        )
    raise DataError(
        f"the columns {listed} are of no known format",
        where=where,
        fix="name a template with prompt.template, or rename the columns to those of a format: "
        + "; ".join(f"{known.name} ({known.shape})" for known in FORMATS.values()),
    )


def _pair_of(columns: Collection[str]) -> tuple[str, str] | None:
    return next((pair for pair in _PAIRS if set(pair) <= set(columns)), None)


def _fits_pair(columns: Collection[str]) -> bool:
    foreign = _CONTEXT | {"instruction"}
    return _pair_of(columns) is not None and not foreign & set(columns)


def _pair_turns(values: Mapping[str, Any], where: str) -> list[Message]:
    pair = _pair_of(values)
    if pair is None:
        wanted = " or ".join(f"{prompt}/{answer}" for prompt, answer in _PAIRS)
        raise DataError(
            "the row lacks a prompt or a completion", where=where, fix=f"its columns are {wanted}"
        )
    prompt, answer = pair
    return [
        *_system(values, where),
        *_history(values, where),
        Message("user", text_field(values, prompt, where)),
        Message("assistant", text_field(values, answer, where)),
    ]


def _fits_alpaca(columns: Collection[str]) -> bool:
    return {"instruction", "output"} <= set(columns) and not _CONTEXT & set(columns)


def _alpaca_turns(values: Mapping[str, Any], where: str) -> list[Message]:
    question = text_field(values, "instruction", where)
    if context := optional_text_field(values, "input", where):
        question = f"{question}\n\n{context}"
    return [
        *_system(values, where),
        *_history(values, where),
        Message("user", question),
        Message("assistant", text_field(values, "output", where)),
    ]


def _history(values: Mapping[str, Any], where: str) -> list[Message]:
    """Earlier turns as pairs of question and answer."""
    if not values.get("history"):
        return []
    turns = []
    for index, pair in enumerate(list_field(values, "history", where)):
        field = f"history[{index}]"
        if not isinstance(pair, list) or len(pair) != 2:
            raise field_error("this is not a pair of question and answer", where, field)
        named = dict(zip(("user", "assistant"), pair, strict=True))
        turns += [
            Message("user", text_field(named, "user", where, field=f"{field}[0]")),
            Message("assistant", text_field(named, "assistant", where, field=f"{field}[1]")),
        ]
    return turns


def _system(values: Mapping[str, Any], where: str) -> list[Message]:
    text = optional_text_field(values, "system", where)
    return [Message("system", text)] if text else []


def _sharegpt_turns(values: Mapping[str, Any], where: str) -> list[Message]:
    _refuse_tools(values, where)
    turns = read_turns(values, "conversations", ("from", "value"), _SHAREGPT_ROLES, where)
    check_order(turns, "conversations", where)
    return _with_system(turns, values, where)


def _openai_turns(values: Mapping[str, Any], where: str) -> list[Message]:
    _refuse_tools(values, where)
    turns = read_turns(values, "messages", ("role", "content"), _OPENAI_ROLES, where)
    check_order(turns, "messages", where)
    _refuse_weights(values, where)
    return _with_system(turns, values, where)


def _with_system(turns: list[Message], values: Mapping[str, Any], where: str) -> list[Message]:
    """The turns, after the system message of the row where they have none themselves."""
    return turns if turns[0].role == "system" else [*_system(values, where), *turns]


def _refuse_weights(values: Mapping[str, Any], where: str) -> None:
    """An answer that is not to be trained on, in OpenAI's format for fine-tuning."""
    for index, turn in enumerate(values["messages"]):
        if turn.get("weight") == 0:
            raise field_error(
                "this answer is not to be trained on, which is not supported",
                where,
                f"messages[{index}].weight",
                "leave out the turns from here on, or drop such rows with data.invalid=drop",
            )


def _refuse_tools(values: Mapping[str, Any], where: str) -> None:
    """Without its tools, a conversation about them would teach something else."""
    if values.get("tools") not in (None, "", "[]", []):
        raise field_error("the row offers tools, which are not supported", where, "tools")


def _fits_text(columns: Collection[str]) -> bool:
    return set(columns) - _METADATA == {"text"}


def _text_turns(values: Mapping[str, Any], where: str) -> list[Message]:
    return [Message("assistant", text_field(values, "text", where))]


FORMATS: dict[str, Format] = {
    known.name: known
    for known in (
        Format(
            "prompt-completion",
            " or ".join("/".join(pair) for pair in _PAIRS),
            _fits_pair,
            _pair_turns,
            lambda columns: {*(_pair_of(columns) or ()), "system", "history"},
        ),
        Format(
            "alpaca",
            "instruction, output, maybe input",
            _fits_alpaca,
            _alpaca_turns,
            lambda _: {"instruction", "input", "output", "system", "history"},
        ),
        Format(
            "sharegpt",
            "conversations: a list of {from, value}",
            lambda columns: "conversations" in columns,
            _sharegpt_turns,
            lambda _: {"conversations", "system", "tools"},
        ),
        Format(
            "openai",
            "messages: a list of {role, content}",
            lambda columns: "messages" in columns,
            _openai_turns,
            lambda _: {"messages", "system", "tools"},
        ),
        Format("text", "text", _fits_text, _text_turns, lambda _: {"text"}),
    )
}
"""By the name in ``data.format``."""
