"""Time is kept account of, across interruptions too."""

from __future__ import annotations

import time

import pytest

from luthier.ladder.budget import TimeBudget


def test_without_a_budget_only_the_configured_limit_holds() -> None:
    budget = TimeBudget(None, spent=1e6)
    budget.note_evaluation(1e6)
    assert budget.refusal() == ""
    assert budget.training_time(None) is None
    assert budget.training_time(60.0) == 60.0


def test_time_passes() -> None:
    budget = TimeBudget(100.0)
    before = budget.spent
    time.sleep(0.02)
    assert budget.spent - before >= 0.02


def test_what_an_interrupted_run_used_counts() -> None:
    assert TimeBudget(100.0, spent=40.0).spent == pytest.approx(40.0, abs=0.5)
    assert TimeBudget(100.0, spent=101.0).refusal() == "the time budget is used up"


def test_training_leaves_time_for_the_longest_evaluation() -> None:
    budget = TimeBudget(100.0, spent=20.0)
    for seconds in (5.0, 10.0, 3.0):
        budget.note_evaluation(seconds)
    assert 10.0 <= budget.evaluation_reserve <= 20.0
    left = budget.training_time(None)
    assert left == pytest.approx(80.0 - budget.evaluation_reserve, abs=0.5)


def test_the_smaller_of_both_limits_holds() -> None:
    budget = TimeBudget(100.0)
    assert budget.training_time(30.0) == 30.0
    assert budget.training_time(300.0) == pytest.approx(100.0, abs=0.5)


def test_a_rung_that_could_not_be_evaluated_is_refused() -> None:
    budget = TimeBudget(100.0, spent=92.0)
    assert budget.refusal() == ""
    budget.note_evaluation(10.0)
    assert budget.refusal() == "the time budget is used up"
