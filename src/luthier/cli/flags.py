"""Flags that several commands share. Importing this module is cheap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, get_args

from cyclopts import Parameter


def whole(_: Any, tokens: Sequence[Any]) -> int:
    """Parse a whole number; cyclopts would round a fraction.

    Raises:
        ValueError: it is not a whole number.
    """
    given = tokens[0].value
    try:
        return int(given)
    except ValueError:
        raise ValueError(f"{given!r} is not a whole number") from None


def one_of(names: object, more: str = "") -> Parameter:
    """Help that lists every choice, from a tuple or a type with literal values."""
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
