"""What happens to a row that cannot be used: it stops the run, or is dropped and counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from luthier.core.errors import DataError, ProblemList

_MAX_PROBLEMS = 1000
"""A file with more mistakes than this is of another kind than was thought; reading on is vain."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A row that is left out.

    Attributes:
        where: the row's place, such as ``data.jsonl:817``.
        reason: why, in words that many rows may share, so that they can be counted.
    """

    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """How many rows were left out for a reason, and the place of the first of them."""

    reason: str
    count: int
    where: str


def count_reasons(dropped: Iterable[Dropped]) -> tuple[ReasonCount, ...]:
    """Dropped rows by reason, the most frequent first."""
    places: dict[str, list[str]] = defaultdict(list)
    for item in dropped:
        places[item.reason].append(item.where)
    counts = (ReasonCount(reason, len(at), at[0]) for reason, at in places.items())
    return tuple(sorted(counts, key=lambda item: -item.count))


class Problems(Protocol):
    """Takes the mistakes in a user's rows."""

    def add(self, problem: DataError) -> None:
        """Note that a row cannot be used."""

    def finish(self) -> tuple[Dropped, ...]:
        """The rows that were dropped, after all were read.

        Raises:
            DataError: rows with mistakes are not accepted; it lists them.
        """


class RaiseProblems:
    """Collects mistakes, to show all of them at once."""

    def __init__(self) -> None:
        self._list = ProblemList()

    def add(self, problem: DataError) -> None:
        """Note that a row cannot be used.

        Raises:
            DataError: there are so many that reading on makes no sense.
        """
        self._list.add(problem)
        if len(self._list.problems) >= _MAX_PROBLEMS:
            self.finish()

    def finish(self) -> tuple[Dropped, ...]:
        """Nothing is dropped.

        Raises:
            DataError: there were mistakes; it lists the first of them.
        """
        self._list.raise_if_any()
        return ()


class DropProblems:
    """Drops rows with mistakes and remembers why."""

    def __init__(self) -> None:
        self._dropped: list[Dropped] = []

    def add(self, problem: DataError) -> None:
        """Note that a row cannot be used."""
        self._dropped.append(Dropped(problem.where, problem.problem))

    def finish(self) -> tuple[Dropped, ...]:
        """The rows that were dropped."""
        return tuple(self._dropped)


_POLICIES: dict[str, type[RaiseProblems] | type[DropProblems]] = {
    "error": RaiseProblems,
    "drop": DropProblems,
}


def collect_problems(invalid: Literal["error", "drop"]) -> Problems:
    """What ``data.invalid`` asks for."""
    return _POLICIES[invalid]()
