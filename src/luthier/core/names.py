"""Names from outside in messages: each on one line and not too long, and not too many of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

_MOST = 8
_LONGEST = 80
_LONGEST_COMPARED = 200
"""Of a wrong name that others are held against: the search is slow, and no name is longer."""


def shortened(name: str) -> str:
    """The first 80 characters of a name, on one line."""
    return on_one_line(name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…")


def on_one_line(text: str) -> str:
    r"""Text in which ``\\n`` stands for a line break, so that it cannot look like two lines."""
    return text.replace("\n", r"\n")


def named(name: object) -> str:
    """A name in quotation marks, what cannot be printed as escapes; shortened."""
    text = str(name)
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


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


def did_you_mean(name: str, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> str:
    """A question that suggests known names like a wrong one; empty where none is like it.

    Args:
        name: the wrong name.
        known: the right ones.
        most: so many suggestions at most.
        cutoff: the least likeness, as `difflib.SequenceMatcher.ratio` has it.
    """
    if len(name) > _LONGEST_COMPARED:
        return ""
    close = difflib.get_close_matches(name, list(known), n=most, cutoff=cutoff)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else ""
