"""Several systems on one task."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from luthier.core.errors import DataError
from luthier.evaluation.comparison.paired import compare_evaluations
from luthier.evaluation.comparison.pairwise import compare_systems
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.evaluation.task import Evaluation

Make = Callable[..., Evaluation]
REFERENCES = ["one two", "three four", "five six", "seven eight"]
HALF = ["one", "three four", "five", "nothing"]
BEST = ["one two", "three four", "five", "nothing"]


@pytest.fixture
def systems(evaluation: Make) -> dict[str, Evaluation]:
    return {
        "half": evaluation(HALF, REFERENCES),
        "best": evaluation(BEST, REFERENCES),
        "none": evaluation(["x"] * 4, REFERENCES),
    }


def test_each_is_compared_with_the_first(
    systems: dict[str, Evaluation], resampling: Resampling
) -> None:
    compared = compare_systems(systems, "exact_match", resampling)
    assert compared.comparisons == tuple(
        compare_evaluations("exact_match", systems["half"], systems[name], "half", resampling)
        for name in ("best", "none")
    )
    assert (compared.better, compared.worse) == ((1, 0), (0, 1))
    # exact_match was not measured, so it is now; rouge1 was, and is taken as it is stored.
    assert [result.value for result in compared.results] == [0.25, 0.5, 0.0]
    stored = compare_systems(systems, None, resampling)
    assert stored.metric == "rouge1"
    assert {result.value for result in stored.results} == {0.5}


def test_items_are_those_with_the_largest_differences(
    systems: dict[str, Evaluation], resampling: Resampling
) -> None:
    items = compare_systems(systems, "exact_match", resampling, num_items=5).items
    assert [item.id for item in items] == ["id-0", "id-1"]
    assert items[0].scores == (0.0, 1.0, 0.0)
    assert items[0].answers == ("one", "one two", "x")
    assert (items[0].references, items[0].words) == (("one two",), {})
    assert len(compare_systems(systems, "exact_match", resampling, num_items=1).items) == 1
    assert compare_systems(systems, "exact_match", resampling).items == ()


def test_other_references_are_refused(
    systems: dict[str, Evaluation], evaluation: Make, resampling: Resampling
) -> None:
    changed = systems | {"changed": evaluation(HALF, [*REFERENCES[:3], "nine"])}
    with pytest.raises(DataError, match="references of 1 examples differ"):
        compare_systems(changed, "exact_match", resampling)
