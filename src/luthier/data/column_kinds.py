"""The kinds of a table's columns: which is the label, which are texts, which is the group."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

from luthier.data.row_shapes import is_index
from luthier.records.data_profile import ColumnKind

MAX_CLASSES = 50
"""A column with more distinct values is not taken for a label."""
FEW_GROUPS = 30
"""A column with fewer values is not taken for a group: a tenth of them is too small a test."""
_MOST_GROUP_SHARE = 0.9
"""Ids of which more than this share are different name rows, those below groups of rows."""
_MIN_ROWS_PER_CLASS = 3
_MAX_LABEL_CHARACTERS = 40
_MAX_LABEL_WORDS = 4
_MAX_GROUP_CHARACTERS = 80
_MIN_TEXT_CHARACTERS = 30
_MIN_ID_CHARACTERS = 4
_MIN_TEXT_WORDS = 4
_LABEL_NAMES = re.compile(
    r"label|class|classes|category|categories|kategorie|klasse|target|y|sentiment|topic|intent|"
    r"queue|team|department|tag|type|art|answer|gold|verdict|polarity|emotion|genre|is"
)
_SECOND_LABEL_NAMES = re.compile(
    r"priority|severity|urgency|status|state|stage|stars|rating|score|language|lang|country|"
    r"region|channel|split|gender|level"
)
_TEXT_NAMES = re.compile(
    r"text|texts|subject|title|headline|body|message|question|prompt|instruction|input|content|"
    r"context|description|comment|review|sentence|document|article|dialogue|query|request|mail|"
    r"betreff|nachricht|frage|beschreibung|passage|premise|hypothesis|abstract|note|notes"
)
_ANSWER_NAMES = re.compile(
    r"answer|answers|completion|response|reply|output|target|summary|highlights|translation|"
    r"reference|references|solution|antwort|zusammenfassung|headline"
)
_SHORT_PAIRS = {"a": "q"}
"""Short names of an answer and its question, which mean nothing without each other."""
_GROUP_NAMES = re.compile(
    r"group|customer|client|author|user|username|account|company|patient|speaker|session|"
    r"conversation|thread|sender|from|owner|doc|document|email|domain|url|source|kunde|autor|"
    r"person|writer|store|shop|site|author_id"
)
_ID_NAMES = re.compile(r"id|ids|uuid|guid|key|index|idx|nr|no|number|hash|row|pk|ticket|case")
_NUMBER = re.compile(
    r"""[-+−]?[$€£]?\s?
    (\d{1,3}([.,'\ ]\d{3})+([.,]\d+)?|\d+([.,]\d+)?|[.,]\d+)  # a point or a comma
    ([eE][-+]?\d+)?\s?[%€$£]?""",
    re.VERBOSE,
)
_DATE = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})"
    r"([ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?\s?([AaPp][Mm])?(Z|[-+]\d{2}:?\d{2})?)?"
)
_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True)
class ColumnValues:
    """The values of a column.

    Attributes:
        name: the column's name.
        counts: the rows with each text, stripped; without missing values.
        missing: the rows without a value.
        is_plain: whether no value is a list or an object.
    """

    name: str
    counts: Counter[str]
    missing: int
    is_plain: bool

    @classmethod
    def of(cls, name: str, values: Sequence[Any]) -> ColumnValues:
        """The values of a column, one for each row; None or blank: missing."""
        texts = [text_of_cell(value) for value in values]
        there = Counter(text for text in texts if text)
        plain = not any(isinstance(value, list | dict) for value in values)
        return cls(name, there, len(texts) - there.total(), plain)

    @property
    def rows(self) -> int:
        """The rows with a value."""
        return self.counts.total()

    @cached_property
    def median_characters(self) -> int:
        """The median length of the distinct values."""
        return int(median(map(len, self.counts))) if self.counts else 0

    @cached_property
    def longest(self) -> int:
        """The length of the longest value."""
        return max(map(len, self.counts), default=0)

    @cached_property
    def median_words(self) -> int:
        """The median number of words of the distinct values."""
        return int(median(len(value.split()) for value in self.counts)) if self.counts else 0

    def is_named(self, names: re.Pattern[str]) -> bool:
        """Whether a word of the column's name is one of these; numbers behind it do not count."""
        words = _WORD.findall(_CAMEL.sub(" ", self.name).replace("_", " ").lower())
        return any(names.fullmatch(word.rstrip("0123456789") or word) for word in words)

    def are_all(self, pattern: re.Pattern[str]) -> bool:
        """Whether every value matches."""
        return bool(self.counts) and all(map(pattern.fullmatch, self.counts))


@dataclass(frozen=True, slots=True)
class Roles:
    """The columns with a role in the task.

    Attributes:
        label: the column of classes; empty if there is none.
        answer: the column of open answers; empty if there is none.
        texts: the columns of the question, in the order of the table.
        group: the column of groups; empty if there is none.
        other_labels: further columns that could be the label, the likeliest first.
        other_groups: further columns that could be the group.
        other_answers: columns that could be open answers, where a label was preferred.
    """

    label: str
    answer: str
    texts: tuple[str, ...]
    group: str
    other_labels: tuple[str, ...] = ()
    other_groups: tuple[str, ...] = ()
    other_answers: tuple[str, ...] = ()

    def kind_of(self, column: ColumnValues) -> ColumnKind:
        """The kind of a column: its role, or else what its values are."""
        if column.name == self.label:
            return "label"
        if column.name == self.answer:
            return "answer"
        if column.name in self.texts:
            return "text"
        if column.name == self.group:
            return "group"
        return _kind_without_role(column)


def find_roles(
    columns: Sequence[ColumnValues],
    *,
    label: str | None = None,
    texts: Sequence[str] = (),
    group: str | None = None,
) -> Roles:
    """The columns with a role, guessed from their names and values.

    Args:
        columns: all columns, in the order of the table.
        label: the label or answer, if it is known.
        texts: the columns of the question, if they are known.
        group: the group, if it is known; empty: there is none.
    """
    given = {label, group, *texts}
    free = [column for column in columns if column.name not in given]
    ranked = sorted(filter(_may_be_label, free), key=_label_rank)
    labels = [column.name for column in ranked]
    groups = [
        column.name
        for column in sorted(filter(_may_be_group, free), key=lambda one: -one.rows)
        if column.is_named(_GROUP_NAMES) or column.name not in labels
    ]
    large = [name for name in groups if _distinct(columns, name) >= FEW_GROUPS]
    chosen_group = group if group is not None else next(iter(large), "")
    labels = [name for name in labels if name != chosen_group]
    rest = [column for column in free if column.name != chosen_group]
    answers = [c.name for c in rest if _is_text(c) and _is_answer_named(c, columns)]
    found_label, answer = _answer(columns, rest, labels, answers, label)
    right = found_label or answer
    asked = tuple(texts) or _texts(
        [column for column in rest if column.name != right], answers if right else ()
    )
    return Roles(
        label=found_label,
        answer=answer,
        texts=asked,
        group=chosen_group,
        other_labels=tuple(name for name in labels if name not in (right, *asked, *groups)),
        other_groups=tuple(name for name in groups if name not in (right, chosen_group, *asked)),
        other_answers=tuple(name for name in answers if name != answer),
    )


def _distinct(columns: Sequence[ColumnValues], name: str) -> int:
    return next(len(column.counts) for column in columns if column.name == name)


def _answer(
    columns: Sequence[ColumnValues],
    free: Sequence[ColumnValues],
    labels: Sequence[str],
    open_answers: Sequence[str],
    given: str | None,
) -> tuple[str, str]:
    """The label, or the column of open answers; both empty if there is neither."""
    if given is not None:
        named = next(column for column in columns if column.name == given)
        return (given, "") if len(named.counts) <= _max_classes(named) else ("", given)
    strong = [c.name for c in free if c.name in labels and c.is_named(_LABEL_NAMES)]
    if labels and (strong or not open_answers):
        return labels[0], ""
    if open_answers:
        return "", open_answers[-1]
    texts = [column.name for column in free if _is_text(column)]
    return "", texts[-1] if len(texts) > 1 else ""


def _is_answer_named(column: ColumnValues, columns: Sequence[ColumnValues]) -> bool:
    """Whether a name says that the texts of a column are answers."""
    question = _SHORT_PAIRS.get(column.name.strip().lower())
    return column.is_named(_ANSWER_NAMES) or any(
        other.name.strip().lower() == question for other in columns
    )


def _max_classes(column: ColumnValues) -> int:
    """The most distinct values that a label named by the user may have."""
    return max(MAX_CLASSES, column.rows // 10) if column.longest <= _MAX_LABEL_CHARACTERS * 2 else 0


def _may_be_label(column: ColumnValues) -> bool:
    """Few short values, each in several rows."""
    distinct = len(column.counts)
    most = min(MAX_CLASSES, max(2, column.rows // _MIN_ROWS_PER_CLASS))
    return (
        column.is_plain
        and 2 <= distinct <= most
        and column.longest <= _MAX_LABEL_CHARACTERS
        and column.median_words <= _MAX_LABEL_WORDS
        and not column.are_all(_DATE)
        and not column.is_named(_TEXT_NAMES)
        and (column.is_named(_LABEL_NAMES) or not _is_measure(column))
    )


def _is_measure(column: ColumnValues) -> bool:
    """Whether a column has numbers that are not the numbers of a few classes."""
    return column.are_all(_NUMBER) and (
        len(column.counts) > 10 or not all(value.isdecimal() for value in column.counts)
    )


def _label_rank(column: ColumnValues) -> tuple[int, int]:
    """Names of labels first, then names of other properties and of groups; then few classes."""
    if column.is_named(_LABEL_NAMES):
        named = 0
    elif column.is_named(_GROUP_NAMES):
        named = 3
    else:
        named = 2 if column.is_named(_SECOND_LABEL_NAMES) else 1
    return named, len(column.counts)


def _may_be_group(column: ColumnValues) -> bool:
    """Short values that repeat, and that name a group or are ids that repeat."""
    most = _MOST_GROUP_SHARE * column.rows
    repeats = column.is_plain and 2 <= len(column.counts) <= most
    others = column.is_named(_LABEL_NAMES) or column.is_named(_SECOND_LABEL_NAMES)
    named = column.is_named(_GROUP_NAMES) and not others
    return repeats and column.longest <= _MAX_GROUP_CHARACTERS and (named or _is_id_named(column))


def _is_id_named(column: ColumnValues) -> bool:
    """Whether the values are ids, by the column's name: words without spaces."""
    return column.is_named(_ID_NAMES) and not any(" " in value for value in column.counts)


def _is_text(column: ColumnValues) -> bool:
    if not column.is_plain or column.are_all(_NUMBER) or column.are_all(_DATE):
        return False
    long = column.median_characters >= _MIN_TEXT_CHARACTERS and column.median_words >= 2
    wordy = column.median_words >= _MIN_TEXT_WORDS
    named = column.is_named(_TEXT_NAMES) and column.median_words >= 1
    return len(column.counts) > 1 and (long or wordy or named)


def _texts(columns: Sequence[ColumnValues], answers: Sequence[str]) -> tuple[str, ...]:
    """The columns of the question: texts without identifiers and further answers."""
    texts = [column.name for column in columns if _is_text(column) and not _is_id(column)]
    return tuple(name for name in texts if name not in answers) or tuple(texts)


def _is_id(column: ColumnValues) -> bool:
    """Short values that name a row: called ids, numbers in order, or distinct without words.

    Ids may repeat in a few rows, such as those of a question with several answers.
    """
    if is_index(column.name, next(iter(column.counts), "")):
        return True
    distinct = len(column.counts)
    if not column.is_plain or distinct < 2 or distinct <= _MOST_GROUP_SHARE * column.rows:
        return False
    if _is_id_named(column):
        return True
    spaced = any(" " in value for value in column.counts)
    if distinct < column.rows or spaced or column.are_all(_NUMBER) or column.are_all(_DATE):
        return False
    return column.median_characters >= _MIN_ID_CHARACTERS and all(map(_has_digit, column.counts))


def _has_digit(text: str) -> bool:
    return any(letter.isdigit() for letter in text)


def _kind_without_role(column: ColumnValues) -> ColumnKind:
    if len(column.counts) <= 1:
        return "constant" if column.counts else "unused"
    if _is_id(column):
        return "id"
    if column.are_all(_DATE):
        return "date"
    return "number" if column.are_all(_NUMBER) else "unused"


def text_of_cell(value: Any) -> str:
    """A cell as text, stripped; missing values are empty, lists and objects are JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value).strip()


def looks_like_row(columns: Sequence[ColumnValues]) -> bool:
    """Whether the names of columns look like the values of a row: a file without a header."""
    among = [column.name for column in columns if column.name in column.counts]
    numbers = [column.name for column in columns if _NUMBER.fullmatch(column.name)]
    return len(columns) > 1 and bool(among or numbers)


def one_to_one(rows: Sequence[tuple[str, str]]) -> bool:
    """Whether two columns determine each other: each value of one goes with one of the other."""
    pairs = {pair for pair in rows if all(pair)}
    firsts, seconds = {a for a, _ in pairs}, {b for _, b in pairs}
    return len(pairs) == len(firsts) == len(seconds) > 1


def columns_of_rows(rows: Collection[dict[str, Any]]) -> tuple[ColumnValues, ...]:
    """The columns of rows, in the order in which they first appear."""
    names = dict.fromkeys(name for row in rows for name in row)
    return tuple(ColumnValues.of(name, [row.get(name) for row in rows]) for name in names)
