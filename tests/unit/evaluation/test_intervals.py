"""Intervals in hard cases: they cover, or say that there is none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from luthier.evaluation.metrics import get_metric
from luthier.evaluation.statistics.bootstrap import (
    Resampling,
    Units,
    bootstrap_interval,
    figure_interval,
)
from luthier.evaluation.statistics.intervals import Interval, constant_interval
from luthier.evaluation.statistics.proportions import (
    design_effect,
    effective_examples,
    proportion_interval,
)
from luthier.evaluation.statistics.significance import paired_test

MEAN = get_metric("rougeL")
WORDS = get_metric("words")
Draw = Callable[[np.random.Generator, int], np.ndarray]

HARD: dict[str, tuple[Draw, float]] = {
    "ties": (lambda g, n: np.where(g.random(n) < 0.8, 0, g.random(n) - g.random(n)), 0.0),
    "skewed ties": (lambda g, n: np.where(g.random(n) < 0.8, 0, g.exponential(1, n) - 1), 0.0),
    "zeros": (lambda g, n: np.where(g.random(n) < 0.8, 0, g.random(n)), 0.1),
    "few": (lambda g, n: g.choice([0, 0.5, 1], n, p=[0.03, 0.02, 0.95]), 0.96),
    "lognormal": (lambda g, n: g.lognormal(0, 1, n), float(np.exp(0.5))),
    "heavy lognormal": (lambda g, n: g.lognormal(0, 1.5, n), float(np.exp(1.125))),
}


def mean(summed: np.ndarray, count: np.ndarray) -> np.ndarray:
    return summed[..., 0] / count


@pytest.mark.parametrize("n", [20, 60])
@pytest.mark.parametrize("name", HARD)
def test_hard_scores_are_covered_or_have_no_interval(name: str, n: int) -> None:
    draw, truth = HARD[name]
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(300):
        units = Units.of(draw(generator, n)[:, None])
        interval = figure_interval(units, mean, Resampling(seed, 500, 0.95))
        covered += bool(interval.missing) or interval.low <= truth <= interval.high
    assert covered / 300 >= 0.92 - 0.016  # a standard error of 300 draws


@pytest.mark.parametrize(("groups", "size"), [(3, 8), (5, 8), (10, 4), (20, 2)])
@pytest.mark.parametrize("rate", [0.5, 0.9, 0.95])
def test_grouped_shares_are_covered(groups: int, size: int, rate: float) -> None:
    generator = np.random.default_rng(1)
    counts = np.full(groups, float(size))
    covered = 0
    for _ in range(600):
        rates = generator.beta(2 * rate, 2 * (1 - rate), groups)  # correlation 1/3 in a group
        interval = proportion_interval(generator.binomial(size, rates) * 1.0, counts, 0.95)
        covered += interval.low <= rate <= interval.high
    assert covered / 600 >= 0.92


@pytest.mark.parametrize("name", ["acc", "exact_match", "all_right", "rougeL"])
def test_all_right_leaves_room_for_wrong_ones(name: str) -> None:
    metric = get_metric(name)
    columns = 2 if name == "all_right" else 1
    for groups in (None, [str(i // 2) for i in range(20)], [""] * 18 + ["p", "p"]):
        interval = bootstrap_interval(
            metric, np.ones((20, columns)), Resampling(0, 200, 0.95), groups
        )
        assert not interval.no_interval
        assert interval.low < 0.93
        assert interval.high == 1.0


@pytest.mark.parametrize("name", ["f1:1", "matthews", "bleu", "words"])
def test_a_figure_without_spread_says_that_it_has_no_interval(name: str) -> None:
    metric = get_metric(name)
    rows = {"f1:1": [[1, 1, 1]], "matthews": [[1, 1, 1, 0, 0, 0]], "words": [[7]]}
    stats = np.array(rows.get(name, [[6, 6, 6, 6, 5, 5, 4, 4, 3, 3]]), dtype=float).repeat(20, 0)
    interval = bootstrap_interval(metric, stats, Resampling(0, 200, 0.95))
    assert interval.no_interval == "all 20 units score alike"


def test_scores_too_skewed_for_their_number_have_no_interval() -> None:
    scores = np.array([*[index / 100 for index in range(-9, 10)], 500.0])
    interval = bootstrap_interval(WORDS, scores[:, None], Resampling(0, 200, 0.95))
    assert interval.no_interval == "20 units are too few for such skewed scores"
    assert interval.low == interval.value == interval.high


@pytest.mark.parametrize("name", ["exact_match", "rougeL", "words"])
def test_interval_and_p_value_never_contradict_each_other(name: str) -> None:
    metric = get_metric(name)
    generator = np.random.default_rng(2)
    decided = set()
    for seed in range(150):
        n = int(generator.integers(5, 40))
        a = generator.random((n, 1)).round(0 if name == "exact_match" else 1)
        b = np.where(generator.random((n, 1)) < 0.6, a, generator.random((n, 1)).round()) * 1.0
        groups = [str(i // int(generator.integers(1, 4))) for i in range(n)]
        test = paired_test(metric, a, b, Resampling(seed, 300, 0.95), groups)
        if not test.no_interval:
            assert (test.low <= 0 <= test.high) == (test.p > 0.05)
            decided.add(test.p > 0.05)
    assert decided == {True, False}


def test_a_rejected_zero_is_cut_off_and_a_kept_one_is_inside() -> None:
    assert Interval(-0.1, 0.5).deciding(0.2, 0.01, 0.95).low > 0
    assert Interval(0.1, 0.5).deciding(0.2, 0.3, 0.95).low == 0
    assert Interval(-0.5, 0.1).deciding(-0.2, 0.01, 0.95).high < 0
    missing = Interval(0.2, 0.2, "none")
    assert missing.deciding(0.2, 0.3, 0.95) is missing


def test_a_constant_has_the_interval_of_no_successes() -> None:
    """The rule of three's exact form: Clopper and Pearson for 0 of 20."""
    from scipy.stats import binomtest

    expected = binomtest(0, 20).proportion_ci(0.95, method="exact")
    low, high = constant_interval(0.0, 20, 0.95, (0.0, 1.0))
    assert (low, high) == pytest.approx((0.0, expected.high))


def test_the_design_effect_lies_between_independent_and_alike() -> None:
    counts = np.full(10, 4.0)
    alike = design_effect(np.array([4.0] * 9 + [0.0]), counts)
    independent = design_effect(np.full(10, 2.0), counts)
    assert 1 <= independent < alike <= 4.5
    assert design_effect(counts, counts) == 4
    assert effective_examples(np.ones(7), np.ones(7)) == 7


def test_lengths_of_zero_are_no_shares() -> None:
    """Wilson's interval ends at 1, but an answer may have any number of words."""
    estimate = bootstrap_interval(WORDS, np.zeros((20, 1)), Resampling(0, 200, 0.95))
    assert estimate.no_interval
