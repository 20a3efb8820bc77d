from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest, permutation_test, ttest_rel

from luthier.evaluation.metrics import get_metric
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.evaluation.statistics.power import detectable_effect
from luthier.evaluation.statistics.significance import holm, mcnemar, paired_test

MEAN = get_metric("rougeL")
RESAMPLING = Resampling(seed=0, resamples=4000, confidence=0.95)
pairs = arrays(np.float64, st.tuples(st.integers(2, 20), st.just(2)), elements=st.floats(0, 1))


def exact_p(differences: np.ndarray) -> float:
    signs = np.array(list(itertools.product((-1, 1), repeat=len(differences))))
    drawn = np.abs(signs @ differences)
    return float(np.mean(drawn >= abs(differences.sum()) - 1e-12))


@pytest.mark.parametrize("seed", range(4))
def test_permutation_p_agrees_with_exact_enumeration(seed: int) -> None:
    generator = np.random.default_rng(seed)
    a = generator.random((9, 1))
    b = a + generator.normal(0.1, 0.2, (9, 1))
    p = paired_test(MEAN, a, b, RESAMPLING).p
    assert p == pytest.approx(exact_p((b - a)[:, 0]))


def test_permutation_p_agrees_with_scipy() -> None:
    generator = np.random.default_rng(11)
    a = generator.random(60)
    b = a + generator.normal(0.05, 0.2, 60)
    ours = paired_test(MEAN, a[:, None], b[:, None], RESAMPLING)
    theirs = permutation_test(
        (b, a),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20000,
        rng=np.random.default_rng(0),
    )
    assert ours.difference == pytest.approx(theirs.statistic)
    assert ours.p == pytest.approx(theirs.pvalue, abs=0.03)
    assert ours.p == pytest.approx(ttest_rel(b, a).pvalue, abs=0.03)


def test_corpus_metric_agrees_with_swapping_whole_outputs() -> None:
    """All 2^6 swaps of the texts themselves, scored anew, give the p-value of BLEU."""
    metric = get_metric("bleu")
    references = [[f"the number {word} is a fine and honest number"] for word in "abcdef"]
    good = [f"the number {word} is a fine and honest thing" for word in "abcdef"]
    poor = [
        f"the number {word} was fine" if word in "abcd" else good[i]
        for i, word in enumerate("abcdef")
    ]

    def gain(a: list[str], b: list[str]) -> float:
        figures = [
            metric.aggregate(metric.statistics(texts, references).sum(axis=0), np.float64(6))
            for texts in (a, b)
        ]
        return float(figures[1] - figures[0])

    observed = gain(poor, good)
    swapped = [
        gain(
            [g if s else p for s, p, g in zip(swap, poor, good, strict=True)],
            [p if s else g for s, p, g in zip(swap, poor, good, strict=True)],
        )
        for swap in itertools.product((0, 1), repeat=6)
    ]
    expected = np.mean(np.abs(swapped) >= abs(observed) - 1e-9)
    test = paired_test(
        metric, metric.statistics(poor, references), metric.statistics(good, references), RESAMPLING
    )
    assert test.difference == pytest.approx(observed)
    assert test.p == pytest.approx(expected)
    assert test.test == "exact paired randomisation, 64 ways to swap"


@given(only_a=st.integers(0, 40), only_b=st.integers(0, 40))
@settings(deadline=None)
def test_mcnemar_is_the_binomial_test_of_discordant_pairs(only_a: int, only_b: int) -> None:
    a = np.array([1.0] * only_a + [0.0] * only_b + [1.0, 0.0])
    b = np.array([0.0] * only_a + [1.0] * only_b + [1.0, 0.0])
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(a, b) == pytest.approx(expected)


def test_which_test_is_chosen() -> None:
    a = np.array([[0.0], [1.0], [0.0], [1.0]])
    b = np.array([[1.0], [1.0], [1.0], [1.0]])
    assert paired_test(MEAN, a, b, RESAMPLING).test == "exact McNemar"
    grouped = paired_test(MEAN, 1 - b, a, RESAMPLING, ["x", "x", "y", "y"])
    assert grouped.test == "exact paired randomisation, 4 ways to swap"
    many = np.random.default_rng(0).random((2, 40, 1))
    assert "approximate randomisation" in paired_test(MEAN, *many, RESAMPLING).test
    few = paired_test(MEAN, a / 2, b / 2, RESAMPLING)
    assert few.test == "exact paired randomisation, 16 ways to swap"


def test_groups_are_swapped_whole() -> None:
    """Three groups allow eight swaps, so no p-value can fall below 2/8."""
    a = np.zeros((30, 1))
    b = np.linspace(0.1, 0.5, 30)[:, None]
    groups = [f"g{index // 10}" for index in range(30)]
    assert paired_test(MEAN, a, b, RESAMPLING, groups).p == pytest.approx(0.25, abs=0.03)
    assert paired_test(MEAN, a, b, RESAMPLING).p == pytest.approx(1 / 4001)


@given(pairs=pairs)
@settings(deadline=None, max_examples=40)
def test_swapping_the_systems_flips_the_sign_and_keeps_p(pairs: np.ndarray) -> None:
    a, b = pairs[:, :1], pairs[:, 1:]
    forth = paired_test(MEAN, a, b, RESAMPLING)
    back = paired_test(MEAN, b, a, RESAMPLING)
    assert forth.difference == pytest.approx(-back.difference)
    assert forth.p == back.p
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low), abs=1e-9)


@given(pairs=pairs)
@settings(deadline=None, max_examples=20)
def test_a_system_does_not_differ_from_itself(pairs: np.ndarray) -> None:
    test = paired_test(MEAN, pairs[:, :1], pairs[:, :1], RESAMPLING)
    assert (test.difference, test.p) == (0, 1)
    assert test.low < 0 < test.high  # equal answers to a few questions promise no equal systems


def test_false_alarms_are_as_rare_as_the_level_says() -> None:
    generator = np.random.default_rng(5)
    alarms = 0
    for repeat in range(400):
        a, b = generator.beta(1, 4, (2, 30, 1))
        alarms += paired_test(MEAN, a, b, Resampling(repeat, 300, 0.95)).p <= 0.05
    assert 0.02 <= alarms / 400 <= 0.08


def test_holm_by_hand() -> None:
    # Sorted: .01 x 4 = .04, .02 x 3 = .06, .03 x 2 = .06, .04 x 1 = .04, raised to .06.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx((0.06, 0.04, 0.06, 0.06))
    assert holm([0.5, 0.6]) == (1.0, 1.0)
    assert holm([]) == ()


@given(
    p_values=st.lists(st.floats(0, 1), min_size=5, max_size=5),
    order=st.permutations(range(5)),
)
def test_holm_follows_the_order_given(p_values: list[float], order: list[int]) -> None:
    adjusted = holm(p_values)
    assert holm([p_values[i] for i in order]) == tuple(adjusted[i] for i in order)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))


def test_the_detectable_effect_is_detected_with_its_power() -> None:
    generator = np.random.default_rng(2)
    effect = detectable_effect(0.2 / math.sqrt(50))
    found = [
        ttest_rel(generator.normal(effect, 0.2, 50), np.zeros(50)).pvalue < 0.05
        for _ in range(1500)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.04)


def test_the_error_of_a_difference_is_that_of_the_paired_t_test() -> None:
    generator = np.random.default_rng(3)
    a = generator.random((40, 1))
    b = a + generator.normal(0.1, 0.2, (40, 1))
    test = paired_test(MEAN, a, b, RESAMPLING)
    expected = ttest_rel(b[:, 0], a[:, 0])
    assert test.difference / test.standard_error == pytest.approx(expected.statistic)


@pytest.mark.long
@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_intervals_of_differences_cover_95_percent_within_two(correlation: float) -> None:
    """Two systems whose skewed scores agree on what is hard, 2,000 times; b is better by 0.05."""
    generator = np.random.default_rng(8)
    hits = 0
    for repeat in range(2000):
        shared, own_a, own_b = generator.beta(0.8, 4.0, (3, 100, 1))
        mixed = [correlation * shared + (1 - correlation) * own for own in (own_a, own_b)]
        test = paired_test(MEAN, mixed[0], mixed[1] + 0.05, Resampling(repeat, 500, 0.95))
        hits += test.low <= 0.05 <= test.high
    assert hits / 2000 == pytest.approx(0.95, abs=0.02)
