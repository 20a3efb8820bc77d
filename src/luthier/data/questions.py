"""Questions: rows to be answered, with or without an answer of their own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from luthier.core.errors import UsageError
from luthier.core.example import Example
from luthier.core.names import listed, named
from luthier.core.row import Row
from luthier.data.conversations import Rules
from luthier.data.row_shapes import FORMATS, Table
from luthier.tasks.task import Task

_PLACEHOLDER = "…"
"""The answer of a row without one while it is read; it is removed from the example."""
Values = dict[str, Any]


class Shape(NamedTuple):
    """The form of the rows that a run answers: those of a task, or of a known format.

    Attributes:
        task: the run's task; the rows of a known format are prompts already and do not use it.
        format: the name of the format; ``table``: the task renders the rows.
        rules: the treatment of ambiguous rows.
    """

    task: Task
    format: str = "table"
    rules: Rules = Rules()

    @property
    def has_questions(self) -> bool:
        """Whether rows are questions; plain text has none."""
        return self.format == Table.name or self.format in _KNOWN

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a question needs, sorted."""
        if self.format == Table.name:
            return tuple(sorted(self.task.question_columns))
        return (_KNOWN[self.format].columns[0],)

    def missing(self, there: Collection[str]) -> tuple[str, ...]:
        """The needed columns that are not among those that rows have."""
        if self.format == Table.name:
            return tuple(name for name in self.columns if name not in there)
        known = _KNOWN[self.format].columns
        return () if set(known) & set(there) else known[:1]

    def question(self, row: Row) -> Example:
        """The question of a row, as an evaluation asks it; an answer in the row is ignored.

        Raises:
            DataError: a column is missing, empty or malformed.
        """
        if self.format == Table.name:
            return self.task.question(row)
        answered = _KNOWN[self.format].answered(row.values)
        example = FORMATS[self.format].convert(
            replace(row, values=answered), rules=self.rules.without_weight()
        )
        return replace(example, id="", references=(), answer=None)

    def row_of(self, given: str | Mapping[str, Any] | Sequence[str]) -> Row:
        """The row of a question that was typed.

        Args:
            given: the text of the only column, the values by column, or texts such as
                ``subject=Refund``.

        Raises:
            UsageError: a column is missing or unknown.
        """
        where = "the question"
        if isinstance(given, Mapping):
            return Row(dict(given), where)
        texts = [given] if isinstance(given, str) else given
        pairs = dict(text.split("=", 1) for text in texts if "=" in text)
        values = {name: text for name, text in pairs.items() if name in self.columns}
        if len(texts) == len(self.columns) == 1 and (isinstance(given, str) or not values):
            return self._alone(texts[0], where)
        if len(values) < len(texts) or len(values) < len(self.columns):
            missing = [name for name in self.columns if name not in values]
            raise UsageError(
                f"a question of this run has the columns {listed(self.columns, show=named)}"
                + (f"; {listed(missing, show=named)} is missing" if values and missing else ""),
                where=where,
                fix=f"give {' '.join(f'{name}=…' for name in self.columns)}, each with an --input "
                "of its own, or all with --input-json",
            )
        return Row(values, where)

    def _alone(self, text: str, where: str) -> Row:
        (column,) = self.columns
        if self.format == Table.name:
            return Row({column: text}, where)
        return Row(_KNOWN[self.format].said(column, text), where)


class _Known(NamedTuple):
    """A format of prompts and conversations.

    Attributes:
        columns: the columns with the question, of which a row has one.
        answered: the values of a row with a placeholder for a missing answer.
        said: the values of a row with a single text, under the given column.
    """

    columns: tuple[str, ...]
    answered: Callable[[Mapping[str, Any]], Values]
    said: Callable[[str, str], Values]


def _with(partners: Mapping[str, str]) -> Callable[[Mapping[str, Any]], Values]:
    """A function that adds the answer's column to that of the question, if it is missing."""

    def answered(values: Mapping[str, Any]) -> Values:
        asked = next((name for name in partners if name in values), None)
        if asked is None or _says_something(values.get(partners[asked])):
            return dict(values)
        return {**values, partners[asked]: _PLACEHOLDER}

    return answered


def _with_turn(columns: Collection[str]) -> Callable[[Mapping[str, Any]], Values]:
    """A function that ends a conversation with an assistant's turn."""

    def answered(values: Mapping[str, Any]) -> Values:
        key = next((name for name in columns if isinstance(values.get(name), list)), None)
        turns = values[key] if key else []
        last = turns[-1] if turns else None
        if key is None or not isinstance(last, Mapping):
            return dict(values)
        role, text = ("from", "value") if "from" in last else ("role", "content")
        if last.get(role) in ("assistant", "gpt", "model", "bot"):
            return dict(values)
        answer = "gpt" if role == "from" else "assistant"
        return {**values, key: [*turns, {role: answer, text: _PLACEHOLDER}]}

    return answered


def _with_mark(values: Mapping[str, Any]) -> Values:
    chat = values.get("chat")
    if not isinstance(chat, str) or chat.rfind("ASSISTANT:") > chat.rfind("USER:"):
        return dict(values)
    return {**values, "chat": f"{chat.rstrip()}\n\n\nASSISTANT: {_PLACEHOLDER} <|endoftext|>"}


def _says_something(value: Any) -> bool:
    return value is not None and value not in ("", [])


def _cell(column: str, text: str) -> Values:
    return {column: text}


_CHATS = ("messages", "conversations", "conversation")
_PAIRS = {"prompt": "completion", "input": "output", "question": "answer"}
_KNOWN: Mapping[str, _Known] = {
    "prompt-completion": _Known(tuple(_PAIRS), _with(_PAIRS), _cell),
    "alpaca": _Known(("instruction",), _with({"instruction": "output"}), _cell),
    "openai": _Known(
        _CHATS, _with_turn(_CHATS), lambda column, text: {column: [_turn("role", text)]}
    ),
    "sharegpt": _Known(
        ("conversations", "conversation", "messages"),
        _with_turn(_CHATS),
        lambda column, text: {column: [_turn("from", text)]},
    ),
    "glaive": _Known(
        ("chat",), _with_mark, lambda column, text: {column: f"USER: {text}", "system": ""}
    ),
}
"""By the name in ``data.format``. Plain text has no question."""


def _turn(key: str, text: str) -> Values:
    return {"role": "user", "content": text} if key == "role" else {"from": "human", "value": text}
