from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from luthier.evaluation.metrics import get_metric
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.evaluation.statistics.stepdown import gain_p_values, step_down

ACCURACY = get_metric("exact_match")
RESAMPLING = Resampling(seed=0, resamples=2000, confidence=0.95)


def by_hand(scores: np.ndarray) -> dict[tuple[str, str], float]:
    """Westfall and Young's step-down over every way to swap, written from its definition."""
    units, systems = scores.shape
    pairs = list(combinations(range(systems), 2))
    gains = np.array([scores[:, b] - scores[:, a] for a, b in pairs])
    every = np.array(list(product((1, -1), repeat=units)))
    spread = np.sqrt((gains**2).sum(axis=1))
    observed, drawn = gains.sum(axis=1) / spread, (every @ gains.T) / spread
    left = sorted(range(len(pairs)), key=lambda pair: -observed[pair])
    adjusted, largest = {}, 0.0
    while left:
        p = float(np.mean(drawn[:, left].max(axis=1) >= observed[left[0]] - 1e-9))
        largest = max(largest, p)
        a, b = pairs[left.pop(0)]
        adjusted[str(a), str(b)] = largest
    return adjusted


@pytest.mark.parametrize("seed", range(4))
def test_p_values_are_those_of_the_definition(seed: int) -> None:
    scores = np.random.default_rng(seed).random((9, 4)) + np.array([0, 0.1, 0.3, 0.2])
    ours = gain_p_values(ACCURACY, {str(k): scores[:, k : k + 1] for k in range(4)}, RESAMPLING)
    assert ours == pytest.approx(by_hand(scores))


def test_drawn_swaps_come_close_to_all_of_them() -> None:
    scores = np.random.default_rng(1).random((10, 3)) + np.array([0, 0.1, 0.3])
    stats = {str(k): scores[:, k : k + 1] for k in range(3)}
    drawn = gain_p_values(ACCURACY, stats, Resampling(3, 1000, 0.95))
    exact = gain_p_values(ACCURACY, stats, Resampling(3, 1024, 0.95))
    for pair, p in exact.items():
        assert drawn[pair] == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / 1000) + 2e-3)


def test_one_pair_is_half_the_two_sided_test() -> None:
    scores = np.random.default_rng(2).random((8, 2)) + np.array([0, 0.2])
    (p,) = gain_p_values(ACCURACY, {"a": scores[:, :1], "b": scores[:, 1:]}, RESAMPLING).values()
    signs = np.array(list(product((1, -1), repeat=8)))
    moves = scores[:, 1] - scores[:, 0]
    assert p == pytest.approx(np.mean(signs @ moves >= moves.sum() - 1e-12))


def test_systems_that_never_differ_are_never_better() -> None:
    column = np.ones((12, 1))
    assert set(gain_p_values(ACCURACY, dict.fromkeys("abc", column), RESAMPLING).values()) == {1.0}
    assert gain_p_values(ACCURACY, {"a": column}, RESAMPLING) == {}


def test_a_pair_of_few_units_can_be_significant_among_many_pairs() -> None:
    """Holm's correction of five two-sided p-values could not reach 0.05 with seven groups."""
    generator = np.random.default_rng(3)
    scores = generator.random((7, 6)) * 0.2
    scores[:, 5] += 0.8
    stats = {str(k): scores[:, k : k + 1] for k in range(6)}
    assert gain_p_values(ACCURACY, stats, RESAMPLING)["0", "5"] <= 0.05


def test_the_family_wise_error_is_at_most_alpha() -> None:
    """Six equally good systems that answer alike to different degrees."""
    generator = np.random.default_rng(4)
    wrong = 0
    for seed in range(200):
        easy = generator.normal(size=(40, 1))
        scores = (
            easy + generator.normal(size=(40, 6)) * np.array([0.3, 0.3, 1, 1, 2, 2]) > 0
        ) * 1.0
        stats = {str(k): scores[:, k : k + 1] for k in range(6)}
        p = gain_p_values(ACCURACY, stats, Resampling(seed, 400, 0.95))
        wrong += min(p.values()) <= 0.05
    assert wrong / 200 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)


def test_p_values_never_fall_along_the_order() -> None:
    generator = np.random.default_rng(5)
    observed, drawn = generator.normal(size=15), generator.normal(size=(300, 15))
    spread = np.sqrt((drawn**2).mean(axis=0))
    p = step_down(observed, drawn, exact=False)[np.argsort(-observed / spread)]
    assert (np.diff(p) >= 0).all()
    assert p.min() > 0
    assert p.max() <= 1
