from __future__ import annotations

import pytest

from luthier.records.base import Estimate
from luthier.reports.format import (
    digits_of,
    duration_or_absent,
    format_interval,
    format_p,
    format_value,
)


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (0.28149, False, "0.281"),
        (-0.5, False, "−0.500"),
        (0.1, True, "+0.100"),
        (-1e-9, True, "+0.000"),
    ],
)
def test_values(value: float, signed: bool, text: str) -> None:
    assert format_value(value, signed=signed) == text


def test_scores_out_of_a_hundred_get_two_decimals() -> None:
    assert digits_of(Estimate(value=9.9, low=9.1, high=10.4, n=5)) == 2
    assert digits_of(Estimate(value=0.9, low=0.1, high=1.0, n=5)) == 3


def test_interval_and_p() -> None:
    estimate = Estimate(value=0, low=-0.01, high=0.2, n=2)
    assert format_interval(estimate) == "[−0.010, 0.200]"
    missing = estimate.model_copy(update={"no_interval": "one unit"})
    assert format_interval(missing) == "no interval"
    assert format_p(0.0004) == "p < 0.001"
    assert format_p(0.0312) == "p = 0.031"


def test_nothing_spent_is_a_dash() -> None:
    assert duration_or_absent(0) == "–"
    assert duration_or_absent(75) == "1m 15s"
