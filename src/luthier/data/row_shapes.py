"""Row formats: their detection, and their conversion to examples."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from luthier.core.errors import DataError
from luthier.core.example import Example, Message
from luthier.core.names import listed, named
from luthier.core.row import Row
from luthier.data.conversations import Rules, arrange, end_with_trained
from luthier.data.fields import Fields, Notes
from luthier.data.flag_names import FLAGS, WEIGHTS
from luthier.data.flags import (
    looks_like_flag,
    refuse_unknown_flags,
    row_flag,
    row_weight,
    turn_flags,
)
from luthier.data.glaive import glaive_system, glaive_turns
from luthier.data.identity import with_content_id
from luthier.data.tool_calls import call_text, declared_arguments, read_tools, tools_text
from luthier.data.turns import REASONING_KEYS, Turn, TurnReader
from luthier.tasks.task import Task

_PAIRS = (("prompt", "completion"), ("input", "output"), ("question", "answer"))
_CONTEXT = frozenset(
    {"context", "passage", "document", "article", "choices", "options", "A", "B", "choice1"}
    | {"premise", "hypothesis"}
)
"""Columns that belong to a question. Rows with them need a template, which uses them."""
_METADATA = frozenset({"id", "url", "source", "title", "date", "timestamp", "meta", "metadata"})
"""Columns that may accompany plain text; a label, for example, would make it a task."""
_BESIDE_TEXT = frozenset({*_METADATA, *FLAGS, *WEIGHTS})
_CHATS = ("messages", "conversations", "conversation")
"""Columns with a list of turns."""
_SYSTEMS = ("system", "system_prompt")
_MEDIA = ("image", "images", "video", "videos", "audio", "audios")
_INDEX = re.compile(r"Unnamed: \d+(\.\d+)*|__index_level_\d+__|level_0|index")
"""Pandas' names for its row numbers in a file."""
_DEFAULT = Rules()


class Conversation(NamedTuple):
    """The content of a row found by a format."""

    turns: list[Turn]
    key: str
    """The column named in errors about the whole conversation."""
    tools: str = ""


Read = Callable[[Fields, Notes, Rules], Conversation]


@dataclass(frozen=True, slots=True)
class Format:
    """A row format.

    Attributes:
        name: as in ``data.format``.
        shape: the columns, in words.
        fits: whether rows with these columns may have this format.
        read: from a row to its conversation, whose last turn is the answer.
    """

    name: str
    shape: str
    fits: Callable[[Collection[str]], bool]
    read: Read

    def convert(
        self, row: Row, group: str = "", rules: Rules = _DEFAULT, notes: Notes | None = None
    ) -> Example:
        """The example in ``row``; its weight is 0 if nothing in it is trained.

        Args:
            row: the row.
            group: the example's group.
            rules: the treatment of ambiguous rows.
            notes: receives harmless omissions.

        Raises:
            DataError: the row does not have this format; with file, line and field.
        """
        notes = notes or Notes()
        fields = Fields(row.values, row.where, ignored=rules.ignore_keys)
        _refuse_media(fields)
        weight = row_weight(fields, rules.weight)
        turns, key, tools = self.read(fields, notes, rules)
        turns = _flagged(turns, fields)
        if self.name != "text":
            turns = arrange(turns, key, row.where, rules, notes)
        messages = [turn.message for turn in turns]
        *before, answer = end_with_trained(messages, row.where, notes)
        is_trained = any(m.is_trained for m in (*before, answer) if m.role == "assistant")
        refuse_unknown_flags(fields)
        unread = fields.unread()
        notes.add_unused({name: unread[name] for name in unread if name not in _METADATA})
        text = answer.content or "\n".join(map(call_text, answer.tool_calls))
        plain = answer == Message("assistant", answer.content)
        example = Example(
            id="",
            messages=tuple(before),
            references=(text,),
            group=group,
            where=row.where,
            answer=None if plain else answer,
            tools=tools,
            weight=weight if is_trained else 0.0,
        )
        return with_content_id(example)


@dataclass(frozen=True)  # no slots: they exclude cached properties
class Table:
    """Rows of any columns, rendered by a task.

    Attributes:
        task: renders them.
        labels: from the labels of the rows to those of the task, where they are called otherwise.
        name: as in ``data.format``.
    """

    task: Task
    labels: Mapping[str, str] = field(default_factory=dict)
    name: str = "table"

    def convert(
        self, row: Row, group: str = "", rules: Rules = _DEFAULT, notes: Notes | None = None
    ) -> Example:
        """The example in ``row``; its weight is 0 if a flag excludes it.

        Args:
            row: the row.
            group: the example's group.
            rules: names the weight column; columns used by the task have no other meaning.
            notes: receives columns that look like training flags but are unused.

        Raises:
            DataError: the task cannot render the row, or a flag is ambiguous.
        """
        example = self.task.document(row, 0, self.labels).example(group)
        used = {*self._columns, *rules.ignore_keys, rules.weight}
        beside = Fields({k: v for k, v in row.values.items() if k not in used}, row.where)
        if row_flag(beside) is False:
            example = replace(example, weight=0.0)
        elif rules.weight is not None:
            weight = row_weight(_only(row, rules.weight), rules.weight)
            example = replace(example, weight=weight)
        if notes is not None:
            unread = beside.unread()
            notes.add_unused({name: unread[name] for name in unread if _says_something(name)})
        return with_content_id(example)

    @cached_property
    def _columns(self) -> frozenset[str]:
        return self.task.columns


def is_index(column: str, value: Any) -> bool:
    """Whether a column contains pandas' row numbers, judged by its name and a value."""
    return _INDEX.fullmatch(column) is not None and str(value).isdecimal()


def _says_something(column: str) -> bool:
    """Whether the name of a column outside the template has a meaning elsewhere."""
    known = column in FLAGS or column in WEIGHTS or _INDEX.fullmatch(column) is not None
    return known or looks_like_flag(column)


def detect(columns: Collection[str], where: str = "") -> Format:
    """The format of rows with these columns.

    Raises:
        DataError: no format matches, or more than one.
    """
    fitting = [known for known in FORMATS.values() if known.fits(columns)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = " and ".join(known.name for known in fitting)
        raise DataError(
            f"the columns {listed(columns, show=named)} fit more than one format: {names}",
            where=where,
            fix="choose one with data.format",
        )
    raise DataError(
        f"the columns {listed(columns, show=named)} match no known format",
        where=where,
        fix="set prompt.template, or rename the columns to those of a format: "
        + "; ".join(f"{known.name} ({known.shape})" for known in FORMATS.values()),
    )


def _only(row: Row, column: str) -> Fields:
    return Fields({column: row.values.get(column)}, row.where)


def _refuse_media(row: Fields) -> None:
    """Reject media, because a conversation about a missing image would teach something else."""
    for name in row.among(_MEDIA):
        if row.has(name):
            raise row.error(
                "only text is supported, and this is not text",
                name,
                "drop such rows with data.invalid=drop, "
                "or add the column to data.ignore_keys to ignore it",
            )


def _flagged(turns: list[Turn], row: Fields) -> list[Turn]:
    """The turns with the flags in columns of the row; all flags must agree.

    Such a list has an entry for every turn, or for every turn except the system message.

    Raises:
        DataError: it has another length.
    """
    for name, flags in turn_flags(row):
        skipped = len(turns) - len(flags)
        if skipped not in (0, int(bool(turns) and turns[0].message.role == "system")):
            raise row.error(
                f"it has {len(flags)} entries, but the conversation has {len(turns)} turns",
                name,
                "give one entry for every turn",
            )
        aligned = [None] * skipped + flags
        turns = [
            turn._replace(message=replace(turn.message, is_trained=False))
            if flag is False and turn.message.role == "assistant"
            else turn
            for turn, flag in zip(turns, aligned, strict=True)
        ]
    return turns


def _pair_of(columns: Collection[str]) -> tuple[str, str] | None:
    return next((pair for pair in _PAIRS if set(pair) <= set(columns)), None)


def _fits_pair(columns: Collection[str]) -> bool:
    foreign = _CONTEXT | {"instruction"}
    return _pair_of(columns) is not None and not foreign & set(columns)


def _read_pair(row: Fields, notes: Notes, rules: Rules) -> Conversation:
    pair = _pair_of(row.keys())
    if pair is None:
        wanted = " or ".join(f"{prompt}/{answer}" for prompt, answer in _PAIRS)
        raise DataError(
            "the row has no prompt or no completion",
            where=row.where,
            fix=f"use the columns {wanted}",
        )
    prompt, completion = pair
    tools = read_tools(row)
    reader = _reader(tools, notes, rules)
    asked = (
        reader.turns(row, prompt, is_trained=False)
        if row.lists(prompt)
        else [Turn(Message("user", row.text(prompt)), prompt)]
    )
    answered = (
        reader.turns(row, completion) if row.lists(completion) else [_answer(row, completion)]
    )
    turns = [*_history(row), *asked, *answered]
    return Conversation(_with_system(turns, row), completion, tools)


def _reader(tools: str, notes: Notes, rules: Rules) -> TurnReader:
    return TurnReader(notes, declared_arguments(tools), rules.refusals == "train")


def _fits_alpaca(columns: Collection[str]) -> bool:
    return {"instruction", "output"} <= set(columns) and not _CONTEXT & set(columns)


def _read_alpaca(row: Fields, notes: Notes, rules: Rules) -> Conversation:
    question = row.text("instruction")
    if context := row.optional_text("input"):
        question = f"{question}\n\n{context}"
    turns = [
        *_history(row),
        Turn(Message("user", question), "instruction"),
        _answer(row, "output"),
    ]
    return Conversation(_with_system(turns, row), "output", read_tools(row))


def _answer(row: Fields, key: str) -> Turn:
    """The answer in a text column, with reasoning stored separately."""
    reasoning = row.optional_text(row.first(REASONING_KEYS, REASONING_KEYS[0]))
    return Turn(Message("assistant", row.text(key), reasoning=reasoning), key)


def _history(row: Fields) -> list[Turn]:
    """Earlier turns, from pairs of question and answer."""
    if not row.has("history"):
        return []
    turns = []
    for index, pair in enumerate(row.items("history")):
        place = f"history[{index}]"
        if not isinstance(pair, list) or len(pair) != 2:
            raise row.error("expected a pair of question and answer", place)
        fields = Fields(dict(zip(("[0]", "[1]"), pair, strict=True)), row.where, place)
        turns += [
            Turn(Message("user", fields.text("[0]")), f"{place}[0]"),
            Turn(Message("assistant", fields.text("[1]")), f"{place}[1]"),
        ]
    return turns


def _with_system(turns: list[Turn], row: Fields) -> list[Turn]:
    """The turns with the row's system message first, unless they already start with it."""
    key = row.first(_SYSTEMS, _SYSTEMS[0])
    text = row.optional_text(key)
    system = Turn(Message("system", text), key)
    if not text or (turns and turns[0].message == system.message):
        return turns
    return [system, *turns]


def _reads_chat(preferred: str) -> Read:
    """A reader of this column, or of any other column with turns."""

    def read(row: Fields, notes: Notes, rules: Rules) -> Conversation:
        there = [name for name in (preferred, *_CHATS) if row.has(name)]
        key = there[0] if there else preferred
        tools = read_tools(row)
        turns = _reader(tools, notes, rules).turns(row, key)
        return Conversation(_with_system(turns, row), key, tools)

    return read


def _read_glaive(row: Fields, notes: Notes, rules: Rules) -> Conversation:
    system, functions = glaive_system(row, row.optional_text("system"))
    turns = glaive_turns(row, "chat")
    if system:
        turns.insert(0, Turn(Message("system", system), "system"))
    return Conversation(turns, "chat", tools_text(row, "system", functions))


def _fits_text(columns: Collection[str]) -> bool:
    rest = {name for name in columns if name not in _BESIDE_TEXT and not _INDEX.fullmatch(name)}
    return rest == {"text"}


def _read_text(row: Fields, notes: Notes, rules: Rules) -> Conversation:
    return Conversation([Turn(Message("assistant", row.text("text")), "text")], "text")


FORMATS: dict[str, Format] = {
    known.name: known
    for known in (
        Format(
            "prompt-completion",
            " or ".join("/".join(pair) for pair in _PAIRS),
            _fits_pair,
            _read_pair,
        ),
        Format("alpaca", "instruction, output, maybe input", _fits_alpaca, _read_alpaca),
        Format(
            "sharegpt",
            "conversations: a list of {from, value}",
            lambda columns: "conversations" in columns or "conversation" in columns,
            _reads_chat("conversations"),
        ),
        Format(
            "openai",
            "messages: a list of {role, content}",
            lambda columns: "messages" in columns,
            _reads_chat("messages"),
        ),
        Format(
            "glaive",
            "chat: a text of USER: and ASSISTANT:, and system",
            lambda columns: {"chat", "system"} <= set(columns),
            _read_glaive,
        ),
        Format("text", "text", _fits_text, _read_text),
    )
}
"""By the name in ``data.format``."""
