"""Column names and paths, and the values that a row has under them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from luthier.core.errors import DataError
from luthier.core.names import listed, named
from luthier.core.row import Row
from luthier.prompts.filters import text_of
from luthier.prompts.jinja import valid_snippet

_PRINTED = re.compile(r"\s*\{\{\s*([^{}|\s\[\]()'\"~]+)\s*\}\}\s*")
_TEMPLATE = re.compile(r"\{[{%#]")
_PLACE = re.compile(r"[0-9]{1,9}")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _without_braces(value: Any) -> Any:
    printed = _PRINTED.fullmatch(value) if isinstance(value, str) else None
    return printed.group(1) if printed else value


Column = Annotated[str, BeforeValidator(_without_braces), Field(min_length=1)]
"""The name of a column, or a path into it such as ``choices.text``.

``{{ choices.text }}`` means the same. A number in a path is an index from 0. A name after a list is
looked up in each item of the list.
"""


def _column_or_snippet(value: str) -> str:
    return valid_snippet(value) if _TEMPLATE.search(value) else value


ColumnOrText = Annotated[Column, AfterValidator(_column_or_snippet)]
"""A `Column`, which may hold a list of texts, or a template that makes one text."""


def is_column(source: str) -> bool:
    """True if a `ColumnOrText` is a column, False if it is a template."""
    return not _TEMPLATE.search(source)


def has_column(row: Row, column: str) -> bool:
    """True if a row has a column, or the column that a path begins with."""
    return column in row.values or beginning(column) in row.values


def beginning(column: str) -> str:
    """The column that a path begins with."""
    return column.partition(".")[0]


def value_of(row: Row, column: str, task: str) -> Any:
    """The value that a row has in a column, or at a path into one.

    Raises:
        DataError: the row has no such column or path.
    """
    if column in row.values:
        return row.values[column]
    value: Any = row.values
    try:
        for name in column.split("."):
            value = _step(value, name)
    except (LookupError, TypeError):
        raise DataError(
            f"the task {task!r} needs the column {column!r}, which is not there",
            where=row.where,
            fix=f"the columns are {listed(row.values)}; see rename",
        ) from None
    return value


def texts_of(row: Row, column: str, task: str) -> tuple[str, ...]:
    """The texts of a column that holds a list.

    Raises:
        DataError: the column holds no list, the list is empty, or an item is neither text nor
            number.
    """
    value = value_of(row, column, task)
    if not isinstance(value, list) or not value:
        raise DataError(
            f"the task {task!r} needs a list in the column {column!r}",
            where=row.where,
            fix=f"the columns are {listed(row.values)}; see rename",
        )
    return _texts(row, column, value)


def one_or_more(row: Row, column: str, task: str) -> tuple[str, ...]:
    """The texts of a column that holds a list or a single value.

    Raises:
        DataError: there is no value, or a value is neither text nor number.
    """
    value = value_of(row, column, task)
    if isinstance(value, list):
        return texts_of(row, column, task)
    return _texts(row, column, [value])


def place_of(given: str, labels: tuple[str, ...] | None, count: int, where: str) -> int:
    """The index, from 0, of an answer that is given as an index, a letter or a label.

    Args:
        given: one of ``labels``; without labels a number from 0, or a letter from A.
        labels: the labels of the candidates, in order; None: they have none.
        count: the number of candidates.
        where: the place of the row, for errors.

    Raises:
        DataError: ``given`` is no index, letter or label of a candidate.
    """
    given = given.strip()
    if labels is not None:
        known = listed(labels, show=named)
        place = labels.index(given) if given in labels else -1
    else:
        known = f"0 to {count - 1}, or A to {_LETTERS[min(count, len(_LETTERS)) - 1]}"
        letter = _LETTERS.find(given) if len(given) == 1 else -1
        place = int(given) if _PLACE.fullmatch(given) else letter
    if not 0 <= place < count:
        raise DataError(
            f"the answer {given[:80]!r} is none of the candidates",
            where=where,
            fix=f"they are called {known}; name the column with their labels in labels",
        )
    return place


def _step(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return value[int(name)] if _PLACE.fullmatch(name) else [_step(v, name) for v in value]
    if not isinstance(value, Mapping):
        raise TypeError(f"there is nothing called {name} in {type(value).__name__}")
    return value[name]


def _texts(row: Row, column: str, values: list[Any]) -> tuple[str, ...]:
    for value in values:
        if value is None or isinstance(value, list | Mapping):
            raise DataError(
                f"the column {column!r} holds something other than text",
                where=row.where,
                fix="null is no text" if value is None else "name a part of it by its path",
            )
    return tuple(map(text_of, values))
