"""The exceptions of Luthier: problem, location and fix.

A `LuthierError` is printed without a traceback, because the user can fix it. Any other exception is
a bug in Luthier and keeps its traceback.
"""

from __future__ import annotations

from typing import ClassVar

from luthier.core.names import on_one_line


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
    """A collection of problems of one kind, reported together instead of one per run."""

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
        """Raise the only problem unchanged, or one error that lists the first ``limit`` problems.

        Raises:
            LuthierError: of the class of the first problem.
        """
        if not self.problems:
            return
        first = self.problems[0]
        count = len(self.problems) + self._others
        if count == 1:
            raise first
        shown = [f"  {problem}" for problem in self.problems[: self.limit]]
        if (more := count - len(shown)) > 0:
            shown.append(f"  … and {more:,} more")
        raise type(first)(f"{count:,} problems:\n" + "\n".join(shown))
