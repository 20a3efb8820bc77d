"""Rates and draws of a mixture's sources, and the limit of passes over them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.errors import DataError, UsageError
from luthier.data.mixture.mixing import limited, sources_of
from luthier.data.mixture.rates import normalised
from luthier.tasks.mixture import Mixture

NAMES = ("a", "b", "c")
OWNERS = ["a"] * 100 + ["b"] * 20 + ["c"] * 5


def mixture(**settings: object) -> Mixture:
    weights = settings.pop("weights", (None,) * 3)
    sources = [
        {"source": name, "weight": weight}
        for name, weight in zip(NAMES, weights, strict=True)  # type: ignore[call-overload]
    ]
    return Mixture.model_validate({"sources": sources, **settings})


def test_rates_follow_the_settings() -> None:
    found = sources_of(mixture(), OWNERS)
    assert (found.names, found.sizes, found.num_draws) == (NAMES, (100, 20, 5), 125)
    assert found.rates == pytest.approx((0.8, 0.16, 0.04))
    assert found.may_repeat
    capped = sources_of(mixture(cap=20, draws=900), OWNERS)
    assert capped.rates == pytest.approx((20 / 45, 20 / 45, 5 / 45))
    assert (capped.num_draws, capped.may_repeat) == (900, False)
    assert sources_of(mixture(rates="equal"), OWNERS).rates == pytest.approx((1 / 3,) * 3)
    stated = mixture(rates="weights", weights=(1, 1, 2))
    assert sources_of(stated, OWNERS).rates == (0.25, 0.25, 0.5)


def test_passes_over_small_sources_are_limited() -> None:
    found = sources_of(mixture(rates="equal", max_passes=2), OWNERS)
    assert found.num_draws == 125
    assert found.quotas == (75, 40, 10)
    fewer = sources_of(mixture(rates="equal", max_passes=0.5), OWNERS)
    assert (fewer.num_draws, fewer.quotas) == (62, (50, 10, 2))
    with pytest.raises(UsageError, match="2 passes over its sources are only 250"):
        sources_of(mixture(draws=251, max_passes=2), OWNERS)


@given(
    st.lists(st.tuples(st.floats(0.01, 9), st.integers(1, 500)), min_size=1, max_size=12),
    st.integers(1, 5000),
    st.floats(0.1, 20),
)
def test_no_source_exceeds_its_passes(
    sources: list[tuple[float, int]], draws: int, max_passes: float
) -> None:
    weights, sizes = zip(*sources, strict=True)
    rates = normalised(weights)
    kept, total = limited(rates, sizes, draws, max_passes)
    assert sum(kept) == pytest.approx(1)
    for rate, size in zip(kept, sizes, strict=True):
        assert rate * total <= max_passes * size * (1 + 1e-9) + 1
    if total < draws:
        assert total == max(1, int(sum(max_passes * size for size in sizes) + 1e-9))
    if all(rate * draws <= max_passes * size for rate, size in zip(rates, sizes, strict=True)):
        assert kept == pytest.approx(rates)


def test_a_source_without_usable_examples_is_an_error() -> None:
    with pytest.raises(DataError, match="of the 3 sources of mixture have"):
        sources_of(mixture(), OWNERS[:120])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rates": "weights", "weights": (1, None, 2)}, "no weight for b"),
        ({"weights": (1, 1, 1)}, "use rates: weights"),
        ({"rates": "equal", "cap": 5}, "cap needs rates: proportional"),
        ({"rates": "weights", "weights": (1, 0, 1)}, "greater than 0"),
        ({"temperature": 0.5}, "greater than or equal to 1"),
    ],
)
def test_contradictions_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        mixture(**settings)
