"""The profile of a table: its columns and their kinds, classes, duplicates, and doubts."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence

from luthier.core.errors import UsageError
from luthier.core.names import did_you_mean, listed, named, shortened
from luthier.core.row import Row
from luthier.core.units import counted
from luthier.data.column_kinds import (
    FEW_GROUPS,
    ColumnValues,
    Roles,
    columns_of_rows,
    find_roles,
    looks_like_row,
    one_to_one,
    text_of_cell,
)
from luthier.data.divide import default_test_fraction
from luthier.records.data_profile import ClassProfile, ColumnProfile, DataProfile

FEW_ROWS = 10
"""A class with fewer rows can hardly be learned or measured."""
_TYPO_RATIO = 5
_MOST_TYPO_ROWS = 3
_SIMILAR = 0.8
_EXAMPLES = 3
_MOST_OTHER_GROUPS = 2
_SHOWN_CHARACTERS = 60


def profile_rows(
    rows: Sequence[Row],
    *,
    label: str | None = None,
    texts: Sequence[str] = (),
    group: str | None = None,
    notes: Sequence[str] = (),
) -> DataProfile:
    """The profile of a table.

    Args:
        rows: all rows.
        label: the column of the right answer; None: guess.
        texts: the columns of the question; empty: guess.
        group: the column of the group; empty: none; None: guess.
        notes: sentences on the way in which the rows were read.

    Raises:
        UsageError: a named column does not exist.
    """
    values = [row.values for row in rows]
    columns = columns_of_rows(values)
    for option, name in (("--label", label), *(("--text", name) for name in texts)):
        _require_column(option, name, columns)
    _require_column("--group", group or None, columns)
    roles = find_roles(columns, label=label, texts=texts, group=group)
    classes = _classes(columns, roles.label)
    asked = [tuple(text_of_cell(row.get(name)) for name in roles.texts) for row in values]
    right = [text_of_cell(row.get(roles.label or roles.answer)) for row in values]
    answers: dict[tuple[str, ...], set[str]] = {}
    for question, answer in zip(asked, right, strict=True):
        answers.setdefault(question, set()).add(answer)
    several = sum(len(found) > 1 for found in answers.values()) if roles.label else 0
    pairs = Counter(zip(asked, right, strict=True))
    return DataProfile(
        rows=len(rows),
        columns=tuple(_column(column, roles) for column in columns),
        label=roles.label,
        answer=roles.answer,
        texts=roles.texts,
        group=roles.group,
        classes=classes,
        duplicates=pairs.total() - len(pairs) if roles.texts else 0,
        contradictions=several,
        other_labels=(*roles.other_labels, *roles.other_answers) if label is None else (),
        unsure=tuple(_doubts(rows, columns, roles, classes, guessed=label is None)),
        notes=tuple(notes),
    )


def _require_column(option: str, name: str | None, columns: Sequence[ColumnValues]) -> None:
    known = [column.name for column in columns]
    if name is not None and name not in known:
        raise UsageError(
            f"there is no column {named(name)}",
            where=option,
            fix=did_you_mean(name, known) or f"the columns are {listed(known, show=named)}",
        )


def _column(column: ColumnValues, roles: Roles) -> ColumnProfile:
    return ColumnProfile(
        name=column.name,
        kind=roles.kind_of(column),
        distinct=len(column.counts),
        missing=column.missing,
        median_characters=column.median_characters,
        longest=column.longest,
        examples=tuple(
            text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
            for text in list(column.counts)[:_EXAMPLES]
        ),
    )


def _classes(columns: Sequence[ColumnValues], label: str) -> tuple[ClassProfile, ...]:
    counts = next((column.counts for column in columns if column.name == label), Counter[str]())
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        ClassProfile(label=value, rows=rows, typo_of=_meant(value, rows, counts))
        for value, rows in ordered
    )


def _meant(value: str, rows: int, counts: Counter[str]) -> str:
    """The frequent class of which a rare one may be a misspelling; numbers are never misspelt."""
    if rows > _MOST_TYPO_ROWS or not any(letter.isalpha() for letter in value):
        return ""
    frequent = [other for other, count in counts.items() if count >= _TYPO_RATIO * rows]
    folded = " ".join(value.casefold().split())
    same = [other for other in frequent if " ".join(other.casefold().split()) == folded]
    if same:
        return max(same, key=lambda other: counts[other])
    close = [other for other in frequent if did_you_mean(value, [other], cutoff=_SIMILAR)]
    return max(close, key=lambda other: counts[other], default="")


def _doubts(
    rows: Sequence[Row],
    columns: Sequence[ColumnValues],
    roles: Roles,
    classes: Sequence[ClassProfile],
    *,
    guessed: bool,
) -> Iterator[str]:
    """Sentences on what may be wrong, the most important first."""
    if looks_like_row(columns):
        names = listed((column.name for column in columns), 4, show=named)
        yield (
            f"the file may have no header, because its first row looks like the others: {names}; "
            "if so, add a line with the names of the columns"
        )
    if guessed and roles.label and roles.other_labels:
        others = listed((named(name) for name in roles.other_labels), last=" or ")
        yield (
            f"the label could also be {others}: --label {shlex.quote(roles.other_labels[0])} "
            f"predicts that instead of {roles.label}"
        )
    if guessed and roles.label and roles.other_answers:
        others = listed((named(name) for name in roles.other_answers), last=" or ")
        yield (
            f"the answer could also be the text {others}: --label "
            f"{shlex.quote(roles.other_answers[0])} has it written instead of {roles.label}"
        )
    if guessed and roles.answer and roles.other_labels:
        others = listed((named(name) for name in roles.other_labels), last=" or ")
        yield (
            f"the answer is the text {named(roles.answer)}, and could also be the label {others}: "
            f"--label {shlex.quote(roles.other_labels[0])} predicts that instead"
        )
    elif guessed and roles.answer:
        yield (
            f"no column has few distinct values, so the answer is the text {named(roles.answer)}: "
            "--label COLUMN names another"
        )
    if not roles.group:
        sizes = {column.name: len(column.counts) for column in columns}
        for name in roles.other_groups[:_MOST_OTHER_GROUPS]:
            yield (
                f"rows may belong together by {named(name)} ({sizes[name]:,} values): --group "
                f"{shlex.quote(name)} keeps each {shortened(name)} in one split"
            )
    groups = next((len(c.counts) for c in columns if c.name == roles.group), FEW_GROUPS)
    if groups < FEW_GROUPS:
        tested = max(1, round(groups * default_test_fraction(len(rows))))
        yield (
            f"{named(roles.group)} has only {groups} values, so the test split has about "
            f"{tested} of them and its figures will be coarse: --group '' "
            "divides single rows instead"
        )
    yield from _doubtful_classes(columns, roles, classes)
    for name in _giving_away(rows, columns, roles):
        yield (
            f"the column {named(name)} gives the label away: each of its values goes with one "
            f"value of {named(roles.label)}; it is not part of the prompt"
        )


def _doubtful_classes(
    columns: Sequence[ColumnValues], roles: Roles, classes: Sequence[ClassProfile]
) -> Iterator[str]:
    frequent = {each.label: each.rows for each in classes}
    for each in classes:
        if each.typo_of:
            yield (
                f"{named(each.label)} ({counted(each.rows, 'row')}) may be a misspelling of "
                f"{named(each.typo_of)} ({counted(frequent[each.typo_of], 'row')}); see labels in "
                "the task"
            )
    rare = [each for each in classes if each.rows < FEW_ROWS and not each.typo_of]
    if rare:
        names = listed(f"{named(each.label)} ({each.rows})" for each in rare)
        yield f"fewer than {FEW_ROWS} rows have these labels, too few to learn or measure: {names}"
    right = roles.label or roles.answer
    missing = next((column.missing for column in columns if column.name == right), 0)
    if missing:
        yield (
            f"{counted(missing, 'row')} without {named(right)}: fill them, or leave them out with "
            "data.invalid=drop"
        )


def _giving_away(
    rows: Sequence[Row], columns: Sequence[ColumnValues], roles: Roles
) -> Iterator[str]:
    """The columns outside the prompt that determine the label one to one."""
    for column in columns:
        if not roles.label or column.name in (roles.label, *roles.texts):
            continue
        if len(column.counts) <= 1:
            continue
        pairs = [
            (text_of_cell(row.values.get(column.name)), text_of_cell(row.values.get(roles.label)))
            for row in rows
        ]
        if one_to_one(pairs):
            yield column.name
