"""Flags that several commands share. Importing them costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter


def whole(_: Any, tokens: Sequence[Any]) -> int:
    """Read a whole number; cyclopts by itself would round a fraction.

    Raises:
        ValueError: it is none.
    """
    given = tokens[0].value
    try:
        return int(given)
    except ValueError:
        raise ValueError(f"{given!r} is no whole number") from None


Whole = Annotated[int, Parameter(converter=whole)]
WholeOrNone = Annotated[int | None, Parameter(converter=whole)]
Json = Annotated[bool, Parameter(negative="", show_default=False, help="Print one JSON document.")]
DryRun = Annotated[
    bool,
    Parameter(
        negative="", show_default=False, help="Check everything, load no weights, train nothing."
    ),
]
