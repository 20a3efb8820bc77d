"""Formatting of foreign names in messages: one line, limited length, limited number."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

_MOST = 8
_LONGEST = 80
_LONGEST_COMPARED = 200
"""Characters of a wrong name used in the search for similar ones, which is slow."""


def shortened(name: str) -> str:
    """The first 80 characters of a name, on one line."""
    return on_one_line(name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…")


def on_one_line(text: str) -> str:
    r"""The text with line breaks written as ``\\n``."""
    return text.replace("\n", r"\n")


def named(name: object) -> str:
    """The shortened name in quotation marks, with unprintable characters escaped."""
    text = str(name)
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def listed(
    names: Iterable[object],
    most: int = _MOST,
    *,
    show: Callable[[str], str] = shortened,
    last: str = ", ",
) -> str:
    """The first ``most`` names and the number of the others: ``a, b and 3 more``.

    Args:
        names: texts, or objects that `show` formats.
        most: the maximum number of names shown.
        show: formats a name; `named` adds quotation marks.
        last: the separator before the last name if all are shown, such as ``" and "``.
    """
    found = list(names)
    shown = [show(str(name)) for name in found[:most]]
    if left := len(found) - len(shown):
        return f"{', '.join(shown)} and {left:,} more"
    return last.join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def did_you_mean(name: str, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> str:
    """A "did you mean" question with similar known names; empty if none is similar.

    Args:
        name: the wrong name.
        known: the valid names.
        most: the maximum number of suggestions.
        cutoff: minimum similarity, as in `difflib.SequenceMatcher.ratio`.
    """
    close = similar(name, known, most=most, cutoff=cutoff)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else ""


def similar(name: str, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> list[str]:
    """The known names most similar to a wrong one, at most ``most`` (see `did_you_mean`)."""
    if len(name) > _LONGEST_COMPARED:
        return []
    return difflib.get_close_matches(name, list(known), n=most, cutoff=cutoff)
