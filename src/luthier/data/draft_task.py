"""A task drafted from a table: its YAML with comments, and the task that it defines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from luthier.config.yaml import parse_yaml
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.names import listed, named
from luthier.core.row import Row
from luthier.core.units import counted
from luthier.data.near_rows import find_near_rows
from luthier.records.data_profile import ClassProfile, ColumnProfile, DataProfile, NearRows
from luthier.records.run_directory import file_name
from luthier.tasks.documents import tasks_of
from luthier.tasks.item import Document
from luthier.tasks.load import task_names
from luthier.tasks.task import Task

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_YAML_WORDS = ("true", "false", "null", "yes", "no", "on", "off")
_JINJA_WORDS = ("true", "false", "none", "and", "or", "not", "in", "is", "if", "else", "row")
_MOST_LISTED = 50
"""A prompt does not list more choices."""
_PLAIN_QUESTIONS = ("prompt", "text", "input", "question", "content", "instruction")
_PLAIN_ANSWERS = ("answer", "completion", "target", "output", "response", "label", "class", "y")
"""Names of columns that would say nothing in a prompt."""
_SHORT_ANSWER = 40
_COMMENT_COLUMN = 34


@dataclass(frozen=True)
class TaskDraft:
    """A drafted task.

    Attributes:
        profile: the profile of its rows.
        text: the task as commented YAML.
        rows: the rows that it was drafted from.
    """

    profile: DataProfile
    text: str
    rows: Sequence[Row]

    @cached_property
    def task(self) -> Task:
        """The task that the YAML defines."""
        (found,) = tasks_of(parse_yaml(self.text, "the drafted task"), None, "task")
        if isinstance(found, Task):
            return found
        raise AssertionError("the draft is a suite")

    def near_duplicates(self, console: Console | None = None) -> NearRows:
        """The near-duplicates among the questions; of a large table, of a sample of 20,000 rows.

        Args:
            console: shows progress; None: no progress.
        """
        return find_near_rows(self.rows, self.profile, console or Console(quiet=True))

    def example(self) -> Document:
        """The first row that the task can render: its question and right answer.

        Raises:
            DataError: it can render none; the error of the first row.
        """
        labels = self.task.files[0].labels if self.task.files else {}
        first: DataError | None = None
        for row in self.rows:
            try:
                return self.task.document(row, 0, labels)
            except DataError as error:
                first = first or error
        raise first or DataError("there are no rows")


def draft_task(
    name: str,
    rows: Sequence[Row],
    profile: DataProfile,
    *,
    file: str | None = None,
    corrected: bool = False,
) -> TaskDraft:
    """A task for rows of a known profile.

    Args:
        name: the name of the source; the task is called after it.
        rows: the rows.
        profile: their profile.
        file: the source as the task's file names it; None: a template, whose rows come from
            elsewhere.
        corrected: whether probable misspellings of labels are corrected; otherwise the correction
            is a comment.

    Raises:
        DataError: there are no rows, no question or no answer.
    """
    _require_question(profile, name)
    corrections = profile.typos if corrected else {}
    parts = [
        _head(name, profile, file),
        _source(profile, file, corrections),
        *_prompt(profile, rows),
        *(_choices(profile, rows, corrections) if profile.label else _completion(profile)),
    ]
    return TaskDraft(profile, "\n".join(parts) + "\n", rows)


def _require_question(profile: DataProfile, name: str) -> None:
    """Refuse rows without a question or without an answer."""
    if not profile.rows:
        raise DataError(
            "there are no rows", where=name, fix="add rows; the file is empty or has only a header"
        )
    columns = listed((column.name for column in profile.columns), show=named)
    if not profile.right:
        raise DataError(
            "no column can be the right answer: none has few distinct values, and there is at most "
            f"one text; the columns are {columns}",
            where=name,
            fix="name it with --label COLUMN, or add a column with the answers"
            if len(profile.columns) > 1
            else "add a column with the answers; of text files, make a folder for each label",
        )
    if not profile.texts:
        raise DataError(
            f"no column can be the question; the columns are {columns}",
            where=name,
            fix="name it with --text COLUMN",
        )
    if len(profile.classes) == 1:
        raise DataError(
            f"the column {named(profile.label)} has one value in all rows, so there is nothing to "
            "predict",
            where=name,
            fix="name another column with --label",
        )


def task_name(name: str) -> str:
    """A name for a task, made from that of its source, unlike those of the built-in tasks."""
    plain = re.sub(r"[^\w.-]+|^[^A-Za-z0-9]+", "-", name).strip("-._") or "task"
    taken = {file_name(known) for known in task_names()}
    return f"{plain}-rows" if file_name(plain) in taken else plain


def _head(name: str, profile: DataProfile, file: str | None) -> str:
    title = (
        f"# Drafted from {_comment(name)} ({counted(profile.rows, 'row')}). Change what you like."
    )
    pages = "" if file is None else "\n# Every field: docs/reference/task-file.md"
    return f"{title}{pages}\n\nname: {_scalar(task_name(name))}"


def _source(profile: DataProfile, file: str | None, corrections: Mapping[str, str]) -> str:
    lines = []
    if file is not None:
        lines += [
            "",
            "# The rows. The file is divided into train, validation and test.",
            "files:",
            f"  splits: {_scalar(file)}",
        ]
        if profile.typos:
            pairs = ", ".join(f"{_scalar(k)}: {_scalar(v)}" for k, v in profile.typos.items())
            told = "Corrected misspellings" if corrections else "Probable misspellings"
            way = "" if corrections else "; without the next '#' they are corrected"
            lines += [
                f"  # {told}{way}.",
                f"  {'' if corrections else '# '}labels: {{{pairs}}}",
            ]
    if profile.group:
        groups = profile.column(profile.group).distinct
        lines += [
            "",
            f"# Rows of one group stay in one split ({groups:,} groups).",
            f"group: {_quoted(_optional(profile.column(profile.group)))}",
        ]
    return "\n".join(lines)


def _prompt(profile: DataProfile, rows: Sequence[Row]) -> Iterator[str]:
    yield ""
    yield "# How a row is asked: {{ column }} stands for the value of a column."
    others = [column for column in profile.columns if _is_left_out(column)]
    if others:
        shown = ", ".join(f"{_comment(column.name)} ({column.kind})" for column in others)
        yield f"# Not asked: {shown}"
    yield "prompt: |"
    is_plain = len(profile.texts) == 1 and profile.texts[0].lower() in _PLAIN_QUESTIONS
    for name in profile.texts:
        yield f"  {'' if is_plain else f'{_field(name)}: '}{_optional(profile.column(name))}"
    right = profile.right
    words = [each.label for each in profile.classes if not each.typo_of]
    if 2 <= len(words) <= _MOST_LISTED:
        yield f"  {_answer_field(right)} ({_literal(listed(words, _MOST_LISTED, last=' or '))}):"
    else:
        yield f"  {_answer_field(right)}:"


def _is_left_out(column: ColumnProfile) -> bool:
    return column.kind not in ("label", "answer", "text", "group")


def _choices(
    profile: DataProfile, rows: Sequence[Row], corrections: Mapping[str, str]
) -> Iterator[str]:
    """The label and its choices; the metrics follow their balance."""
    classes = [each for each in profile.classes if each.label not in corrections]
    is_padded = any(_is_padded(row.values.get(profile.label)) for row in rows)
    printed = _printed(profile.column(profile.label), ["trim"] if is_padded else [])
    yield ""
    yield "# The right answer. Each label has the words that the model answers."
    yield f"label: {_quoted(printed)}"
    yield "choices:"
    yield from map(_choice, classes)
    yield ""
    yield "# The metric follows the labels: accuracy, or balanced accuracy if they are uneven."
    yield "# metrics: [macro_f1, accuracy]"


def _choice(each: ClassProfile) -> str:
    line = f"  {_scalar(each.label)}: {_scalar(_literal(each.label))}"
    note = f"a misspelling of {_comment(each.typo_of)}?" if each.typo_of else ""
    return f"{line:<{_COMMENT_COLUMN}}# {counted(each.rows, 'row')}{', ' * bool(note)}{note}"


def _completion(profile: DataProfile) -> Iterator[str]:
    """An open answer, with metrics that suit its length."""
    column = profile.column(profile.answer)
    yield ""
    yield f"# The right answer, of at most {column.longest:,} characters."
    yield f"completion: {_quoted(_printed(column))}"
    yield ""
    short = column.median_characters <= _SHORT_ANSWER
    yield f"metrics: [{'exact_match, token_f1' if short else 'rougeL, chrf'}]"


def _optional(column: ColumnProfile) -> str:
    """The template code that prints a column, and nothing where its value is missing."""
    return _printed(column, ["default('')"] if column.missing else [])


def _printed(column: ColumnProfile, filters: Sequence[str] = ()) -> str:
    """The template code that prints a column."""
    name = column.name
    is_name = _IDENTIFIER.fullmatch(name) and name.lower() not in _JINJA_WORDS
    source = name if is_name else f"row[{_quoted(name)}]"
    return f"{{{{ {'|'.join((source, *filters))} }}}}"


def _field(name: str) -> str:
    """A column's name as it stands in a prompt."""
    words = " ".join(name.replace("_", " ").split())
    return _literal(words[:1].upper() + words[1:])


def _answer_field(name: str) -> str:
    """The name of the answer's column as it stands in a prompt."""
    return "Answer" if name.lower() in _PLAIN_ANSWERS else _field(name)


def _literal(text: str) -> str:
    """A template that prints the text as it is, on one line."""
    text = " ".join(text.split())
    is_plain = text.isprintable() and not any(mark in text for mark in ("{{", "{%", "{#"))
    return text if is_plain else f"{{{{ {_quoted(text)} }}}}"


def _is_padded(value: object) -> bool:
    return isinstance(value, str) and value != value.strip()


def _scalar(text: str) -> str:
    """The text as a YAML scalar."""
    is_plain = _PLAIN_KEY.fullmatch(text) and text.lower() not in _YAML_WORDS
    return text if is_plain else _quoted(text)


def _quoted(text: str) -> str:
    """The text in double quotation marks, as YAML, JSON and Jinja write it."""
    text = json.dumps(text, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    code = ord(letter)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _comment(text: str) -> str:
    """The text in a comment: one line, without control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:80]
