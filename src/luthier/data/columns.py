"""Column headers: named, not too many, and without duplicates."""

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


def named_columns(cells: Sequence[str], where: str) -> list[str]:
    """The columns that a header names, stripped; those without a name are named as pandas does.

    Raises:
        DataError: there are too many, or duplicates.
    """
    require_few_columns(cells, where)
    names = [cell.strip() for cell in cells]
    columns = [name or _unnamed(index, names) for index, name in enumerate(names)]
    require_distinct_columns(columns, where)
    return columns


def _unnamed(index: int, others: Sequence[str]) -> str:
    """Pandas' name for a column without one, such as its row numbers."""
    name = f"Unnamed: {index}"
    while name in others:
        name += ".1"
    return name
