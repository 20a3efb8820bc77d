"""What the columns of any file must be: few, and of different names."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.core.errors import DataError
from luthier.core.names import named
from luthier.data.json_text import repeated

MAX_COLUMNS = 10_000


def require_few_columns(columns: Sequence[object], where: str) -> None:
    """Refuse a header that is none.

    Raises:
        DataError: it has more than `MAX_COLUMNS` columns.
    """
    if len(columns) > MAX_COLUMNS:
        raise DataError(
            f"the header has {len(columns):,} columns, and at most {MAX_COLUMNS:,} are read",
            where=where,
            fix="name a file with another separator accordingly, or take out columns",
        )


def require_distinct_columns(columns: Sequence[str], where: str) -> None:
    """Refuse two columns of one name, of which one would be lost.

    Raises:
        DataError: there are such.
    """
    if len(set(columns)) != len(columns):
        raise DataError(f"two columns are called {named(repeated(columns))}", where=where)
