"""Names from outside in messages: each on one line and not too long, and not too many of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

_MOST = 8
_LONGEST = 80


def shortened(name: str) -> str:
    """A name of at most 80 characters: a longer one has dots in its place."""
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"


def named(name: object) -> str:
    """A name in quotation marks, its control characters and line breaks as escapes, shortened."""
    return repr(shortened(str(name)))


def listed(
    names: Iterable[object],
    most: int = _MOST,
    *,
    show: Callable[[str], str] = shortened,
    last: str = ", ",
) -> str:
    """The first ``most`` names and the count of the others: ``a, b and 3 more``.

    Args:
        names: texts, or what becomes one.
        most: are shown.
        show: each of them, such as `named` for quotation marks.
        last: what stands before the last of names that are all shown, such as ``" and "``.
    """
    found = list(names)
    shown = [show(str(name)) for name in found[:most]]
    if left := len(found) - len(shown):
        return f"{', '.join(shown)} and {left:,} more"
    return last.join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
