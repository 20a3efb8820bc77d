"""Key-by-key reading of a row, which detects unread keys."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from luthier.core.errors import DataError
from luthier.core.names import shortened
from luthier.data.json_text import parse_json
from luthier.data.problems import ReasonCount

DROP_FIX = "fix the row, or drop such rows with data.invalid=drop"
_MAX_DEPTH = 20
_LIST_OF_OBJECTS = re.compile(r'\s*\[\s*\{\s*"(?:role|from|content|value)"\s*:')
"""The start of turns as JSON text; other texts with a leading bracket are plain text."""


class Fields:
    """The values of a row, or of an object in a row.

    It tracks which keys were read; the others would be lost.

    Attributes:
        where: the row's location.
        path: the object's path in the row, such as ``messages[2]``; empty for the row itself.

    Args:
        values: the values by key.
        where: as above.
        path: as above.
        ignored: keys to treat as absent.
    """

    __slots__ = ("_ignored", "_read", "_values", "path", "where")

    def __init__(
        self,
        values: Mapping[str, Any],
        where: str,
        path: str = "",
        ignored: Collection[str] = (),
    ) -> None:
        self.where = where
        self.path = path
        self._values = values
        self._ignored = ignored
        self._read: set[str] = set()

    def place(self, key: str) -> str:
        """The name of a key in errors, such as ``messages[2].role``."""
        return f"{self.path}.{key}" if self.path and key[:1] != "[" else f"{self.path}{key}"

    def error(self, problem: str, key: str, fix: str = DROP_FIX) -> DataError:
        """An error in the field ``key``, or in the object itself if the key is empty."""
        return field_error(problem, self.where, self.place(key) if key else self.path, fix)

    def get(self, key: str) -> Any:
        """The value of ``key``; None if absent."""
        self._read.add(key)
        return self.peek(key)

    def peek(self, key: str) -> Any:
        """The value of ``key`` without marking it as read; None if ignored."""
        return None if key in self._ignored else self._values.get(key)

    def has(self, key: str) -> bool:
        """Whether ``key`` has a value, without marking it as read."""
        return not is_empty(self.peek(key))

    def keys(self) -> list[str]:
        """The present keys that are not ignored."""
        return [key for key in self._values if key not in self._ignored]

    def among(self, names: Iterable[str]) -> list[str]:
        """The given names that are present keys, without marking them as read."""
        return [name for name in names if name in self._values and name not in self._ignored]

    def lists(self, key: str) -> bool:
        """Whether ``key`` has a list of objects, or the JSON text of one."""
        value = self.peek(key)
        if isinstance(value, str):
            return _LIST_OF_OBJECTS.match(value) is not None
        return isinstance(value, list) and (not value or isinstance(value[0], Mapping))

    def first(self, keys: Collection[str], otherwise: str) -> str:
        """The key of several that has a value, or is present, or else ``otherwise``.

        All of them count as read.

        Raises:
            DataError: several have different values.
        """
        there = self.among(keys)
        present = [key for key in there if self.has(key)]
        if len({repr(self._values[key]) for key in present}) > 1:
            names = " and ".join(map(repr, present))
            raise self.error(f"{names} both have a value, but only one can be used", present[1])
        self._read.update(keys)
        return next(iter((*present, *there)), otherwise)

    def text(self, key: str) -> str:
        """The text of ``key``, without trailing white space.

        Raises:
            DataError: it is missing, not a text, or empty.
        """
        text = self.optional_text(key)
        if not text.strip():
            present = self.peek(key) is not None
            raise self.error("the text is empty" if present else "this field is missing", key)
        return text

    def optional_text(self, key: str) -> str:
        """The text of ``key`` without trailing white space; empty if absent.

        Raises:
            DataError: it is not a text.
        """
        value = self.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.error(
                f"expected a text, found {kind_of(value)}",
                key,
                "write it in quotes, or convert it with a template",
            )
        return value.rstrip()

    def items(self, key: str) -> list[Any]:
        """The list in ``key``, which may be JSON text in a file of cells.

        Raises:
            DataError: it is missing, not a list, or empty.
        """
        value = self.decoded(key)
        if not isinstance(value, list):
            raise self.error(f"expected a list, found {kind_of(value)}", key)
        if not value:
            raise self.error("the list is empty", key)
        return value

    def decoded(self, key: str) -> Any:
        """The value of ``key``, parsed if it is the JSON text of a list or object.

        Raises:
            DataError: it looks like JSON but is invalid.
        """
        value = self.get(key)
        if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
            return value
        try:
            return parse_json(value)
        except ValueError as error:
            raise self.error(
                f"this text looks like JSON but is invalid: {error}",
                key,
                "write it with json.dumps (Python's own str() is not JSON), "
                "or save the rows as .jsonl or .parquet",
            ) from None

    def inside(self, key: str, value: Mapping[str, Any]) -> Fields:
        """The object ``value`` of ``key``."""
        return Fields(value, self.where, self.place(key), self._ignored)

    def unread(self) -> dict[str, Any]:
        """Values that were not read, by key, except empty ones."""
        return {
            str(key): value
            for key, value in self._values.items()
            if key not in self._read and key not in self._ignored and not is_empty(value)
        }


def field_error(problem: str, where: str, field: str, fix: str = DROP_FIX) -> DataError:
    """An error in one field of a row."""
    return DataError(problem, where=f'{where}, field "{shortened(field)}"', fix=fix)


def is_empty(value: Any, depth: int = 0) -> bool:
    """Whether a value is empty: null, blank, or an object of such values.

    A table with nested columns (parquet, Arrow) gives every object the keys of all others, as null.
    """
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, Mapping):
        return depth < _MAX_DEPTH and all(is_empty(item, depth + 1) for item in value.values())
    return value is None or value == []


def kind_of(value: Any) -> str:
    """The name of a value's type in errors."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")


class Notes:
    """Harmless omissions to report: counted remarks, and unused columns."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, str]] = {}
        self.unused: dict[str, Any] = {}
        """Columns that no example uses, with their first value."""

    def add(self, text: str, where: str) -> None:
        """Count the remark ``text``."""
        count, first = self._counts.get(text, (0, where))
        self._counts[text] = (count + 1, first)

    def add_unused(self, columns: Mapping[str, Any]) -> None:
        """Record columns with values that were not read."""
        for name, value in columns.items():
            self.unused.setdefault(name, value)

    def counts(self) -> tuple[ReasonCount, ...]:
        """The remarks with their counts and first locations."""
        return tuple(
            ReasonCount(text, count, first) for text, (count, first) in self._counts.items()
        )
