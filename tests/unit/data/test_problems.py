from __future__ import annotations

import pytest

from luthier.core.errors import DataError
from luthier.data.problems import Dropped, ReasonCount, collect_problems, count_reasons


def test_errors_are_shown_together() -> None:
    problems = collect_problems("error")
    problems.add(DataError("first", where="a:1"))
    problems.add(DataError("second", where="a:2"))
    with pytest.raises(DataError, match=r"(?s)2 problems.*a:1: first.*a:2: second"):
        problems.finish()


def test_a_hopeless_file_is_not_read_to_its_end() -> None:
    problems = collect_problems("error")
    for number in range(999):
        problems.add(DataError("wrong", where=f"a:{number}"))
    with pytest.raises(DataError, match=r"and 997 more \(1,000 places\)"):
        problems.add(DataError("wrong", where="a:999"))


def test_dropped_rows_are_remembered() -> None:
    problems = collect_problems("drop")
    problems.add(DataError("empty", where="a:7"))
    assert problems.finish() == (Dropped("a:7", "empty"),)


def test_nothing_wrong_drops_nothing() -> None:
    assert collect_problems("error").finish() == collect_problems("drop").finish() == ()


def test_reasons_are_counted_with_the_first_place() -> None:
    dropped = [Dropped("a:1", "rare"), Dropped("a:2", "often"), Dropped("a:3", "often")]
    assert count_reasons(dropped) == (ReasonCount("often", 2, "a:2"), ReasonCount("rare", 1, "a:1"))
