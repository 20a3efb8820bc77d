from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.errors import UsageError
from luthier.evaluate.power import (
    bernoulli_error,
    detectable_effect,
    difference_error,
    plan_sample_size,
)
from luthier.evaluate.significance import mcnemar


def test_the_textbook_figure() -> None:
    """Two-sided 5 %, power 80 %: 1.96 + 0.84 standard errors."""
    assert detectable_effect(1.0) == pytest.approx(2.8016, abs=1e-4)
    # Miller 2024, section 5, finds about 1,000 questions for 3 percentage points with such values.
    plan = plan_sample_size(0.03, math.sqrt(1 / 18), 1, "", [0.0])
    assert plan.rows[0].examples == pytest.approx(969, abs=1)


@given(st.floats(0.01, 0.5), st.floats(0.001, 0.3), st.integers(2, 5000))
def test_so_many_examples_show_just_the_difference(difference: float, error: float, n: int) -> None:
    plan = plan_sample_size(difference, error, n, "somewhere")
    for row in plan.rows:
        at_planned = difference_error(error, row.correlation) * math.sqrt(n / row.examples)
        assert detectable_effect(at_planned) <= difference * (1 + 1e-9)
        assert row.detectable == detectable_effect(difference_error(error, row.correlation))
    needed = [row.examples for row in plan.rows]
    assert needed == sorted(needed, reverse=True)


def test_a_plan_for_right_answers_holds_in_simulation() -> None:
    """Two independent systems with 60 and 65 % right: McNemar finds it about 8 times in 10."""
    plan = plan_sample_size(0.05, bernoulli_error(0.625), 1, "", [0.0])
    n = plan.rows[0].examples
    generator = np.random.default_rng(0)
    found = [
        mcnemar((generator.random(n) < 0.6) * 1.0, (generator.random(n) < 0.65) * 1.0) < 0.05
        for _ in range(500)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize("rate", [0, 1, -1, 70])
def test_a_base_rate_is_a_share(rate: float) -> None:
    with pytest.raises(UsageError, match="base rate"):
        bernoulli_error(rate)


def test_a_difference_is_above_zero() -> None:
    with pytest.raises(UsageError, match="cannot be planned"):
        plan_sample_size(0.0, 0.1, 10, "")
