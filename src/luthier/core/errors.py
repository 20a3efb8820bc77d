"""One family of errors: what is wrong, where, and what to do.

A `LuthierError` is a mistake that a user can mend, so it is printed without a traceback. Every
other exception is a defect of Luthier and keeps its traceback.
"""

from __future__ import annotations

from typing import ClassVar

from luthier.core.names import on_one_line


class LuthierError(Exception):
    """Something the user can mend.

    Args:
        problem: what is wrong, in one sentence.
        where: the place, such as ``data.jsonl:817, field "completion"``. It is kept on one line: a
            file's name may hold line breaks, and would pretend to be another message.
        fix: what to do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.where = on_one_line(where)
        self.fix = fix

    def __str__(self) -> str:
        """One line, for logs and chained exceptions."""
        place = f"{self.where}: " if self.where else ""
        fix = f" ({self.fix})" if self.fix else ""
        return f"{place}{self.problem}{fix}"


class UsageError(LuthierError):
    """The command line or the configuration is wrong."""

    exit_code = 2


class DataError(LuthierError):
    """Input data, a template, a model or another artifact is wrong or missing."""

    exit_code = 3


class ResourceError(LuthierError):
    """Memory, disk, permissions or time do not suffice."""

    exit_code = 4


class DivergedError(LuthierError):
    """Training produced a value that is not finite."""

    exit_code = 5


class PreemptedError(LuthierError):
    """The run was asked to stop, saved its state, and can be continued."""

    exit_code = 75


class ProblemList:
    """Collects problems of one kind so that a user sees all of them at once, not one a run."""

    def __init__(self, limit: int = 10) -> None:
        self.limit = limit
        self.problems: list[LuthierError] = []
        self._others = 0

    def add(self, problem: LuthierError) -> None:
        """Note one problem."""
        self.problems.append(problem)

    def count(self, others: int) -> None:
        """Note problems that are not looked at, since enough are listed."""
        self._others += others

    def raise_if_any(self) -> None:
        """Raise the only problem as it is, or one error that lists the first ``limit`` of them.

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
