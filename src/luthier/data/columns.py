"""Checks of column headers: not too many, and without duplicates."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.core.errors import DataError
from luthier.core.names import named
from luthier.data.json_text import repeated

MAX_COLUMNS = 10_000


def require_few_columns(columns: Sequence[object], where: str) -> None:
    """Reject a header with too many columns.

    Raises:
        DataError: it has more than `MAX_COLUMNS` columns.
    """
    if len(columns) > MAX_COLUMNS:
        raise DataError(
            f"the header has {len(columns):,} columns, but at most {MAX_COLUMNS:,} are supported",
            where=where,
            fix="use the suffix that fits the separator, or remove columns",
        )


def require_distinct_columns(columns: Sequence[str], where: str) -> None:
    """Reject duplicate column names, which would lose a column.

    Raises:
        DataError: there are duplicates.
    """
    if len(set(columns)) != len(columns):
        raise DataError(f"two columns are called {named(repeated(columns))}", where=where)
