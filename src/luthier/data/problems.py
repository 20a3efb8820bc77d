"""Handling of unusable rows: an error, or dropped and counted; and the guesses of readers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from luthier.core.errors import DataError, ProblemList

_MAX_PROBLEMS = 1000
"""A file with more errors than this is of another kind than expected; reading stops."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A dropped row.

    Attributes:
        where: the row's location, such as ``data.jsonl:817``.
        reason: the reason, in words shared by many rows so that they can be counted.
    """

    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """The number of rows dropped for a reason, with the location of the first one."""

    reason: str
    count: int
    where: str


def count_reasons(dropped: Iterable[Dropped]) -> tuple[ReasonCount, ...]:
    """Dropped rows grouped by reason, the most frequent first."""
    places: dict[str, list[str]] = defaultdict(list)
    for item in dropped:
        places[item.reason].append(item.where)
    counts = (ReasonCount(reason, len(at), at[0]) for reason, at in places.items())
    return tuple(sorted(counts, key=lambda item: -item.count))


class Problems(Protocol):
    """A collector of errors in a user's rows, and of the guesses with which they are read."""

    def add(self, problem: DataError) -> None:
        """Record that a row is unusable."""

    def note(self, text: str) -> None:
        """Record a guess that a reader had to make, such as the encoding of a file."""

    @property
    def notes(self) -> tuple[str, ...]:
        """The recorded guesses, each once; readers add them while rows are read."""

    def finish(self) -> tuple[Dropped, ...]:
        """The dropped rows, after all were read.

        Raises:
            DataError: errors are not accepted; lists them.
        """


class _Notes:
    """The guesses of readers, in the order in which they were made."""

    def __init__(self) -> None:
        self._notes: dict[str, None] = {}

    def note(self, text: str) -> None:
        """Record a guess that a reader had to make, such as the encoding of a file."""
        self._notes[text] = None

    @property
    def notes(self) -> tuple[str, ...]:
        """The recorded guesses, each once."""
        return tuple(self._notes)


class RaiseProblems(_Notes):
    """Collects errors and reports all of them together."""

    def __init__(self) -> None:
        super().__init__()
        self._list = ProblemList()

    def add(self, problem: DataError) -> None:
        """Record that a row is unusable.

        Raises:
            DataError: there are too many errors to continue.
        """
        self._list.add(problem)
        if len(self._list.problems) >= _MAX_PROBLEMS:
            self.finish()

    def finish(self) -> tuple[Dropped, ...]:
        """Nothing, since no row is dropped.

        Raises:
            DataError: there were errors; lists the first of them.
        """
        self._list.raise_if_any()
        return ()


class DropProblems(_Notes):
    """Drops unusable rows and records the reasons."""

    def __init__(self) -> None:
        super().__init__()
        self._dropped: list[Dropped] = []

    def add(self, problem: DataError) -> None:
        """Record that a row is unusable."""
        self._dropped.append(Dropped(problem.where, problem.problem))

    def finish(self) -> tuple[Dropped, ...]:
        """The dropped rows."""
        return tuple(self._dropped)


_POLICIES: dict[str, type[RaiseProblems] | type[DropProblems]] = {
    "error": RaiseProblems,
    "drop": DropProblems,
}


def collect_problems(invalid: Literal["error", "drop"]) -> Problems:
    """The collector for ``data.invalid``."""
    return _POLICIES[invalid]()
