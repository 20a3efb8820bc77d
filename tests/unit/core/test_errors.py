"""Like problems are one entry, with its places and one fix."""

from __future__ import annotations

import pytest

from luthier.core.errors import DataError, LuthierError, ProblemList


def raised(*problems: DataError, limit: int = 10, others: int = 0) -> LuthierError:
    found = ProblemList(limit)
    for problem in problems:
        found.add(problem)
    found.count(others)
    with pytest.raises(DataError) as caught:
        found.raise_if_any()
    return caught.value


def numbers(first: int, last: int, fix: str = "quote it") -> list[DataError]:
    return [DataError("found a number", where=f"a:{line}", fix=fix) for line in range(first, last)]


def test_problems_that_are_all_alike_are_one_error_with_the_first_places() -> None:
    error = raised(*numbers(1, 61))
    assert error.problem == "found a number"
    assert error.where == "a:1; a:2; a:3 and 57 more (60 places)"
    assert error.fix == "quote it"


def test_each_kind_of_problem_is_an_entry_whatever_the_order_of_rows() -> None:
    empty = [DataError("it is empty", where=f"a:{line}", fix="drop it") for line in range(100, 160)]
    mixed = [one for pair in zip(numbers(1, 61), empty, strict=True) for one in pair]
    assert raised(*mixed).problem.splitlines() == [
        "120 problems:",
        "  found a number (quote it)",
        "    a:1; a:2; a:3 and 57 more (60 places)",
        "  it is empty (drop it)",
        "    a:100; a:101; a:102 and 57 more (60 places)",
    ]


def test_a_fix_that_all_share_is_told_once() -> None:
    error = raised(DataError("one", where="a:1", fix="mend"), DataError("two", fix="mend"))
    assert error.problem.splitlines() == ["2 problems:", "  a:1: one", "  two"]
    assert error.fix == "mend"


def test_every_problem_is_counted_once() -> None:
    different = [DataError(f"wrong {line}", where=f"a:{line}") for line in range(5)]
    shown = raised(*numbers(1, 8), *different, limit=3, others=20).problem.splitlines()
    assert shown[0] == "32 problems:"
    assert shown[-1] == "  … and 23 more"
    assert raised(*numbers(1, 3), others=4).problem.splitlines() == [
        "6 problems:",
        "  found a number",
        "    a:1; a:2 (2 places)",
        "  … and 4 more",
    ]


def test_problems_without_a_place_are_counted() -> None:
    assert raised(DataError("x"), DataError("x")).problem == "2 problems:\n  x\n    2 times"
