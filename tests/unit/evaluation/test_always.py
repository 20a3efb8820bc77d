"""What holds of every interval, test and choice, whatever the scores, groups and metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.evaluation.comparison.choice import choose_rung, is_real_gain
from luthier.evaluation.metrics import get_metric
from luthier.evaluation.statistics.bootstrap import Resampling, bootstrap_interval
from luthier.evaluation.statistics.significance import paired_test
from luthier.evaluation.statistics.stepdown import gain_p_values
from luthier.records.comparison import Comparison

SCORES = st.sampled_from([0.0, 0.0, 1.0, 1.0, 0.5, 0.3, 1e-9, 1 - 1e-9])
LONG = st.sampled_from([0.0, 0.0, 1.0, 3.0, 40.0, 1e6])
EXAMPLES = st.integers(1, 30)
CONFIDENCES = st.sampled_from([0.8, 0.95, 0.99])
NAMES = ["a", "b", "c", "d"]


@st.composite
def paired(draw: st.DrawFn) -> tuple[str, np.ndarray, np.ndarray, list[str]]:
    """A metric, the scores of two systems, and a group for each example."""
    name = draw(st.sampled_from(["rougeL", "words", "exact_match"]))
    one = {"words": LONG, "exact_match": st.sampled_from([0.0, 1.0])}.get(name, SCORES)
    n = draw(EXAMPLES)
    a, b = (draw(st.lists(one, min_size=n, max_size=n)) for _ in range(2))
    groups = draw(st.lists(st.sampled_from(["", "x", "y", "z"]), min_size=n, max_size=n))
    return name, np.array(a)[:, None], np.array(b)[:, None], groups


@given(scores=paired(), confidence=CONFIDENCES)
@settings(max_examples=100, deadline=None)
def test_intervals_hold_the_value_within_the_bounds_and_agree_with_p(
    scores: tuple[str, np.ndarray, np.ndarray, list[str]], confidence: float
) -> None:
    name, a, b, groups = scores
    metric, resampling = get_metric(name), Resampling(0, 100, confidence)
    low, high = metric.bounds
    figure = bootstrap_interval(metric, a, resampling, groups)
    assert all(map(math.isfinite, (figure.low, figure.high)))
    if not figure.no_interval:
        assert low <= figure.low <= figure.value <= figure.high <= high
        assert figure.low < figure.high
    test = paired_test(metric, a, b, resampling, groups)
    assert 0 < test.p <= 1
    if not test.no_interval:
        assert low - high <= test.low <= test.difference <= test.high <= high - low
        assert test.low < test.high
        assert (test.low <= 0 <= test.high) == (test.p > 1 - confidence)


@given(
    scores=st.integers(1, 24).flatmap(
        lambda n: st.lists(st.lists(SCORES, min_size=n, max_size=n), min_size=4, max_size=4)
    )
)
@settings(max_examples=40, deadline=None)
def test_adjusted_p_values_are_at_least_those_of_each_pair_by_itself(
    scores: Sequence[Sequence[float]],
) -> None:
    metric, resampling = get_metric("rougeL"), Resampling(0, 300, 0.95)
    stats = {name: np.array(one)[:, None] for name, one in zip(NAMES, scores, strict=True)}
    together = gain_p_values(metric, stats, resampling)
    for (a, b), p in together.items():
        by_itself = gain_p_values(metric, {a: stats[a], b: stats[b]}, resampling)[a, b]
        assert by_itself - 1e-12 <= p <= 1


@given(
    values=st.lists(st.floats(0, 1), min_size=1, max_size=6),
    p_values=st.lists(st.floats(0, 1), min_size=36, max_size=36),
    marked=st.sets(st.integers(0, 5)),
    name=st.sampled_from(["rougeL", "perplexity"]),
)
@settings(max_examples=200, deadline=None)
def test_a_choice_is_reached_by_real_gains_to_usable_rungs_and_none_is_left(
    values: list[float], p_values: list[float], marked: set[int], name: str
) -> None:
    metric, alpha = get_metric(name), 0.05
    rungs = [str(number) for number in range(len(values))]
    unusable = {str(number) for number in marked}

    def compare(cheaper: str, dearer: str) -> Comparison:
        difference = values[int(dearer)] - values[int(cheaper)]
        return Comparison(
            baseline=cheaper,
            difference=difference,
            low=difference - 0.1,
            high=difference + 0.1,
            p=1.0,
            p_adjusted=p_values[6 * int(cheaper) + int(dearer)] / 5,
            test="",
            n=9,
            standard_error=0.05,
        )

    choice, gains = choose_rung(rungs, metric, compare, alpha, unusable)
    assert list(gains) == rungs[1:]
    usable = [name for name in rungs if name not in unusable]
    first = usable[0] if usable else rungs[0]
    steps = [
        name
        for name in usable
        if name not in (rungs[0], first) and is_real_gain(gains[name], metric, alpha)
    ]
    assert choice == [first, *steps][-1]
    for before, after in pairwise([first, *steps]):
        assert gains[after].baseline == before
    for dearer in rungs[int(choice) + 1 :]:
        assert gains[dearer].baseline == choice
        assert dearer in unusable or not is_real_gain(gains[dearer], metric, alpha)
