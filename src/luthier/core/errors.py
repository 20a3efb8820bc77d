"""The exceptions of Luthier: problem, location and fix.

A `LuthierError` is printed without a traceback, because the user can fix it. Any other exception is
a bug in Luthier and keeps its traceback.
"""

from __future__ import annotations

from typing import ClassVar

from luthier.core.names import on_one_line
from luthier.core.terminal import printable

_PLACES = 3
"""Maximum number of places listed for problems with the same text."""


class LuthierError(Exception):
    """Base class of all errors that the user can fix.

    Args:
        problem: a sentence that says what is wrong.
        where: the location, such as ``data.jsonl:817, field "completion"``. Line breaks are
            escaped, because a file name could otherwise imitate another message.
        fix: the suggested action.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.where = on_one_line(where)
        self.fix = fix

    def __str__(self) -> str:
        """The error on one line, for logs and chained exceptions."""
        place = f"{self.where}: " if self.where else ""
        fix = f" ({self.fix})" if self.fix else ""
        return f"{place}{self.problem}{fix}"

    def _render_traceback_(self) -> list[str]:
        """The text that a notebook shows: problem, location and fix, without a traceback."""
        parts = (("error:", self.problem), ("  at:", self.where), ("  do:", self.fix))
        return [printable(f"{label} {part}") for label, part in parts if part]


class UsageError(LuthierError):
    """Invalid command line or configuration."""

    exit_code = 2


class DataError(LuthierError):
    """Invalid or missing input data, template, model or other artifact."""

    exit_code = 3


class ResourceError(LuthierError):
    """Insufficient memory, disk space, permissions or time."""

    exit_code = 4


class DivergedError(LuthierError):
    """Training produced a value that is not finite."""

    exit_code = 5


class PreemptedError(LuthierError):
    """The run stopped on request and saved its state; it can be resumed."""

    exit_code = 75


class ProblemList:
    """A collection of problems, reported together instead of one per run.

    Problems with the same text and fix are one entry, with its first places and their number.
    """

    def __init__(self, limit: int = 10) -> None:
        self.limit = limit
        self.problems: list[LuthierError] = []
        self._others = 0

    def add(self, problem: LuthierError) -> None:
        """Add a problem."""
        self.problems.append(problem)

    def count(self, others: int) -> None:
        """Count problems that are omitted from the list because enough are listed."""
        self._others += others

    def raise_if_any(self) -> None:
        """Raise the only problem unchanged, or one error that lists the first ``limit`` entries.

        A fix that all problems share is the fix of the error.

        Raises:
            LuthierError: of the class of the first problem.
        """
        if not self.problems:
            return
        first, count = self.problems[0], len(self.problems) + self._others
        if count == 1:
            raise first
        alike = self._alike()
        if len(alike) == 1 and not self._others and first.where:
            raise type(first)(first.problem, where=_places(alike[0]), fix=first.fix)
        shared = first.fix if len({problem.fix for problem in self.problems}) == 1 else ""
        shown = [_entry(group, is_fixed=bool(shared)) for group in alike[: self.limit]]
        listed = sum(len(group) for group in alike[: self.limit])
        if more := count - listed:
            shown.append(f"  … and {more:,} more")
        raise type(first)("\n".join([f"{count:,} problems:", *shown]), fix=shared)

    def _alike(self) -> list[list[LuthierError]]:
        """The problems grouped by text and fix, in the order of their first occurrence."""
        groups: dict[tuple[str, str], list[LuthierError]] = {}
        for problem in self.problems:
            groups.setdefault((problem.problem, problem.fix), []).append(problem)
        return list(groups.values())


def _entry(alike: list[LuthierError], *, is_fixed: bool) -> str:
    """Problems with the same text as an entry of a list, without a fix that is told elsewhere."""
    first = alike[0]
    fix = "" if is_fixed or not first.fix else f" ({first.fix})"
    if len(alike) > 1:
        return f"  {first.problem}{fix}\n    {_places(alike)}"
    place = f"{first.where}: " if first.where else ""
    return f"  {place}{first.problem}{fix}"


def _places(alike: list[LuthierError]) -> str:
    """The first places, and their number."""
    shown = "; ".join(problem.where for problem in alike[:_PLACES] if problem.where)
    more = f" and {len(alike) - _PLACES:,} more" if len(alike) > _PLACES else ""
    return f"{shown}{more} ({len(alike):,} places)" if shown else f"{len(alike):,} times"
