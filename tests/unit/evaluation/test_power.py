from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.errors import UsageError
from luthier.evaluation.metrics import get_metric
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.evaluation.statistics.power import (
    bernoulli_error,
    detectable_difference,
    detectable_effect,
    detectable_share,
    difference_error,
    mcnemar_power,
    plan_sample_size,
    plan_shares,
    power_notes,
)
from luthier.evaluation.statistics.significance import mcnemar
from luthier.evaluation.statistics.stepdown import gain_p_values


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
    with pytest.raises(UsageError, match="is too small"):
        plan_sample_size(0.0, 0.1, 10, "")


@pytest.mark.parametrize("difference", [1e-300, 1e-9, 1e-5])
def test_a_difference_that_no_data_set_shows(difference: float) -> None:
    with pytest.raises(UsageError, match="needs more than 1,000,000,000 examples"):
        plan_shares(difference, 0.5, "a guess")


def test_a_small_difference_is_planned_with_the_approximation() -> None:
    exact = plan_shares(0.005, 0.5, "a guess").rows[0]
    small = plan_shares(0.0005, 0.5, "a guess").rows[0]
    assert small.examples == pytest.approx(100 * exact.examples, rel=0.02)


@pytest.mark.parametrize(("n", "discordance", "difference"), [(20, 0.4, 0.2), (60, 0.3, 0.2)])
def test_mcnemars_power_is_how_often_it_rejects(
    n: int, discordance: float, difference: float
) -> None:
    generator = np.random.default_rng(0)
    better = (discordance + difference) / 2
    counts = generator.multinomial(n, [better, discordance - better, 1 - discordance], size=4000)
    found = 0
    for right, wrong, _ in counts:
        b = np.repeat([1.0, 0.0], [right, wrong])
        found += bool(len(b)) and mcnemar(1 - b, b) <= 0.05 and right > wrong
    power = mcnemar_power(n, discordance, difference)
    assert found / 4000 == pytest.approx(power, abs=4 * math.sqrt(0.25 / 4000))


def test_the_detectable_share_has_its_power() -> None:
    least = detectable_share(64, 15)
    assert least
    assert mcnemar_power(64, max(16 / 65, least), least) >= 0.8
    assert mcnemar_power(64, max(16 / 65, least - 0.01), least - 0.01) < 0.8
    assert detectable_share(5, 0) is None  # five examples cannot show even a difference of 1
    assert detectable_share(64, 0) == pytest.approx(detectable_share(64, 1), abs=0.02)


def test_too_few_units_detect_nothing() -> None:
    assert detectable_difference(0.01, 5) is None
    assert detectable_difference(0.01, 6) == detectable_effect(0.01)
    assert detectable_difference(0.0, 60) is None


def test_notes_on_power_before_anything_is_measured() -> None:
    assert "cannot show any difference" in power_notes(80, 4)[0]
    assert "at least 5 are needed" in power_notes(80, 4)[0]
    assert power_notes(1, 1)[0].startswith("1 unit of test examples cannot")
    assert "a gain in all 5 units" in power_notes(64, 5)[0]
    assert "at least 5 of 7 units must gain" in power_notes(64, 7)[0]
    assert "gains of about 0.16" in power_notes(64, 64)[0]


def test_notes_on_power_say_what_more_examples_would_show() -> None:
    assert "; 256 would show about 0.08, if two systems" in power_notes(64, 64)[0]
    assert "; 120 in 88 groups would show about 0.14." in power_notes(30, 22)[0]
    assert "; 1,024 in 80 groups would show" in power_notes(64, 5)[0]


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("units", [5, 8, 12, 20, 24, 30, 64, 300])
def test_no_note_promises_a_gain_above_the_share_that_differs(units: int, alpha: float) -> None:
    """Two rungs that disagree on a quarter of the examples cannot be further apart than that."""
    for text in re.findall(r"gains of about (\d\.\d+)", power_notes(units, units, alpha)[0]):
        assert float(text) <= 0.25


@pytest.mark.parametrize(("units", "gaining", "shown"), [(7, 5, True), (7, 4, False)])
def test_five_units_must_gain(units: int, gaining: int, *, shown: bool) -> None:
    """The others may stay as they were: they need not gain as well."""
    before, after = np.zeros((units, 1)), np.zeros((units, 1))
    after[:gaining] = 1
    stats = {"before": before, "after": after}
    p = gain_p_values(get_metric("rougeL"), stats, Resampling(0, 2000, 0.95))["before", "after"]
    assert (p <= 0.05) == shown


def test_shares_are_planned_with_the_exact_test() -> None:
    plan = plan_shares(0.1, 0.7, "guessed")
    for row in plan.rows:
        discordance = max(2 * 0.7 * 0.3 * (1 - row.correlation), 0.1)
        assert mcnemar_power(row.examples, discordance, 0.1) >= 0.8
    with pytest.raises(UsageError, match="cannot differ"):
        plan_shares(1.0, 0.5, "guessed")
