"""The profile of a table: what `luthier init` finds in it."""

from __future__ import annotations

from typing import Literal

from luthier.records.base import Count, Record

ColumnKind = Literal[
    "label", "text", "answer", "group", "id", "number", "date", "constant", "unused"
]


class ColumnProfile(Record):
    """A column.

    Attributes:
        name: its name.
        kind: label, text, answer, group, id, number, date, constant or unused.
        distinct: the number of distinct values.
        missing: the rows without a value.
        median_characters: the median length of the distinct values.
        longest: the length of the longest value, in characters.
        examples: the first distinct values, shortened.
    """

    name: str
    kind: ColumnKind
    distinct: Count
    missing: Count
    median_characters: Count
    longest: Count
    examples: tuple[str, ...]


class ClassProfile(Record):
    """A value of the label.

    Attributes:
        label: the value.
        rows: the rows with it.
        typo_of: the class of which it may be a misspelling; empty if of none.
    """

    label: str
    rows: Count
    typo_of: str = ""


class NearRows(Record):
    """The near-duplicates among the questions of a table.

    Attributes:
        rows: the rows with a near-duplicate.
        groups: the number of groups that they form.
        among: the rows that were looked at; fewer than all in a large table.
        pair: the places of two rows of one group; empty without any.
        is_whole: whether all rows of a group would stay in one split.
        is_chained_by_groups: whether they would, if the column of the group were not one.
    """

    rows: Count
    groups: Count
    among: Count
    pair: tuple[str, ...]
    is_whole: bool
    is_chained_by_groups: bool


class DataProfile(Record):
    """A table, as `luthier init` sees it.

    Attributes:
        rows: the number of rows.
        columns: the columns, in the order of the table.
        label: the column of classes; empty if there is none.
        answer: the column of open answers; empty if there is none.
        texts: the columns of the question.
        group: the column of groups; empty if there is none.
        classes: the values of the label, the most frequent first.
        duplicates: rows whose question and answer another row has.
        contradictions: questions that have several labels.
        other_labels: further columns that could be the right answer.
        unsure: sentences on guesses that may be wrong.
        notes: sentences on the way in which the file was read.
    """

    rows: Count
    columns: tuple[ColumnProfile, ...]
    label: str
    answer: str
    texts: tuple[str, ...]
    group: str
    classes: tuple[ClassProfile, ...]
    duplicates: Count
    contradictions: Count
    other_labels: tuple[str, ...]
    unsure: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def right(self) -> str:
        """The column of the right answer; empty if there is none."""
        return self.label or self.answer

    @property
    def typos(self) -> dict[str, str]:
        """The class that each probable misspelling stands for."""
        return {each.label: each.typo_of for each in self.classes if each.typo_of}

    def column(self, name: str) -> ColumnProfile:
        """The column of this name."""
        return next(column for column in self.columns if column.name == name)
