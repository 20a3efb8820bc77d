"""Flags that several commands share. Importing them costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, get_args

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


def one_of(names: object, more: str = "") -> Parameter:
    """Help that names every choice: of a tuple, or of a type with literal values."""
    *first, last = names if isinstance(names, tuple) else get_args(names)
    return Parameter(help=f"{', '.join(first)} or {last}{more}.")


Whole = Annotated[int, Parameter(converter=whole)]
WholeOrNone = Annotated[int | None, Parameter(converter=whole)]
Json = Annotated[bool, Parameter(negative="", show_default=False, help="Print one JSON document.")]
DryRun = Annotated[
    bool,
    Parameter(
        negative="", show_default=False, help="Check everything, load no weights, train nothing."
    ),
]
