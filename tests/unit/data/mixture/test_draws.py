"""Rates follow their formula, and every stretch of a mixture holds its sources at them."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.core.errors import UsageError
from luthier.data.mixture.draws import WINDOW, DrawOrder
from luthier.data.mixture.rates import equal, normalised, proportional

WEIGHTS = st.lists(
    st.floats(min_value=0, max_value=1e6, allow_subnormal=False), min_size=1, max_size=40
).filter(lambda weights: sum(weights) > 1e-3)


def seqio_rates(sizes: list[int], maximum: int, scale: float, temperature: float) -> list[float]:
    """`seqio.mixing_rate_num_examples` over all, in double precision."""
    rates = [min(size * scale, maximum) for size in sizes]
    rates = [rate ** (1.0 / temperature) for rate in rates]
    return [rate / sum(rates) for rate in rates]


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("cap", [3000, 2**16, 2**21])
def test_rates_are_seqios(cap: int, temperature: float) -> None:
    sizes = [17, 250, 3000, 3001, 67_349, 392_702, 5_000_000]
    ours = proportional(sizes, cap=cap, temperature=temperature)
    assert ours == pytest.approx(seqio_rates(sizes, cap, 1.0, temperature), rel=0, abs=1e-12)


def test_other_rates() -> None:
    assert proportional([30, 10]) == (0.75, 0.25)
    assert equal(4) == (0.25,) * 4
    assert normalised([2, 6]) == (0.25, 0.75)
    assert proportional([0, 10]) == (0.0, 1.0)
    with pytest.raises(UsageError, match="sum to 0"):
        proportional([0, 0])


def deviations(order: DrawOrder, count: int) -> np.ndarray:
    """How far each source is from its quota in every stretch of 256 draws, ``[stretches, k]``."""
    drawn = np.array(list(islice(order.sources(), count)))
    shown = (drawn[:, None] == np.arange(len(order.rates))).astype(int)
    sums = np.cumsum(np.vstack([np.zeros((1, shown.shape[1]), int), shown]), axis=0)
    return (sums[WINDOW:] - sums[:-WINDOW]) - WINDOW * np.array(order.rates)


@settings(max_examples=40, deadline=None)
@given(weights=WEIGHTS, seed=st.integers(0, 5))
def test_every_stretch_of_256_draws_holds_each_source_at_its_quota(
    weights: list[float], seed: int
) -> None:
    rates = normalised(weights)
    order = DrawOrder(rates, (9,) * len(rates), seed)
    assert np.abs(deviations(order, 12 * WINDOW)).max() < 1 + 1e-6


def test_in_the_long_run_no_source_is_short() -> None:
    rates = proportional([10**6, 5000, 300, 40, 3], temperature=2)
    drawn = Counter(islice(DrawOrder(rates, (7,) * 5, 0).sources(), 400 * WINDOW))
    for source, rate in enumerate(rates):
        assert abs(drawn[source] - rate * 400 * WINDOW) < 2


def test_a_source_shows_all_its_examples_before_any_recurs() -> None:
    order = DrawOrder((0.5, 0.3, 0.2), (40, 7, 11), seed=3)
    draws = list(islice(order.draws(), 900))
    assert draws == list(islice(DrawOrder((0.5, 0.3, 0.2), (40, 7, 11), seed=3).draws(), 900))
    for source, size in enumerate(order.sizes):
        own = [draw for draw in draws if draw.source == source]
        for repeat in range(len(own) // size):
            one_pass = own[repeat * size : (repeat + 1) * size]
            assert {draw.repeat for draw in one_pass} == {repeat}
            assert sorted(draw.example for draw in one_pass) == list(range(size))
    assert draws != list(islice(DrawOrder((0.5, 0.3, 0.2), (40, 7, 11), seed=4).draws(), 900))


def test_a_source_with_rate_zero_is_never_drawn() -> None:
    order = DrawOrder((1.0, 0.0), (5, 0), seed=0)
    assert set(islice(order.sources(), 1000)) == {0}


def test_slots_of_a_source_are_spread() -> None:
    order = DrawOrder((0.25, 0.75), (5, 5), seed=1)
    quarter = [place for place, one in enumerate(islice(order.sources(), WINDOW)) if one == 0]
    gaps = np.diff(quarter)
    assert gaps.max() <= 12
