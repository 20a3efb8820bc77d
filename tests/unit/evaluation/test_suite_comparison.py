"""Whether two systems differ on a suite: swaps within each task, put together as scores are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from tests.records import evaluation_record, metric_result

from luthier.evaluation.comparison.paired import compare_evaluations
from luthier.evaluation.comparison.suites import compare_suite
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.evaluation.task import Evaluation
from luthier.records.evaluation import SampleRecord
from luthier.tasks.suite import Suite

RESAMPLING = Resampling(seed=0, resamples=4000, confidence=0.95)
Right = Mapping[str, Sequence[bool]]


def suite(*tasks: str, **keys: object) -> Suite:
    return Suite.model_validate({"kind": "suite", "name": "s", "tasks": tasks, **keys})


def system(right: Right) -> dict[str, Evaluation]:
    """Its evaluations of tasks whose only right answer is "yes"."""
    return {task: answered(task, answers) for task, answers in right.items()}


def answered(task: str, right: Sequence[bool]) -> Evaluation:
    value = float(np.mean(right))
    metric = metric_result("exact_match", value, below=0.0, above=0.0, n=len(right))
    samples = tuple(
        SampleRecord(
            id=str(number),
            prompt="?",
            prediction="yes" if good else "no",
            references=("yes",),
            scores={"exact_match": float(good)},
            finish="stop",
        )
        for number, good in enumerate(right)
    )
    return Evaluation(evaluation_record(task, metric), samples)


def drawn(generator: np.random.Generator, share: float, n: int) -> list[bool]:
    return [bool(right) for right in generator.random(n) < share]


def exact_p(a: Right, b: Right, shares: Mapping[str, float]) -> float:
    """By all ways to swap answers that differ."""
    moves = [
        shares[task] * (int(y) - int(x)) / len(a[task])
        for task in a
        for x, y in zip(a[task], b[task], strict=True)
        if x != y
    ]
    signs = np.array(list(itertools.product((-1, 1), repeat=len(moves))))
    return float(np.mean(np.abs(signs @ moves) >= abs(sum(moves)) - 1e-12))


@pytest.mark.parametrize("weights", ["equal", "size"])
def test_p_agrees_with_exact_enumeration(weights: str) -> None:
    generator = np.random.default_rng(3)
    sizes = {"x": 9, "y": 4}
    a = {task: drawn(generator, 0.3, n) for task, n in sizes.items()}
    b = {task: drawn(generator, 0.8, n) for task, n in sizes.items()}
    shares = {"equal": {"x": 1 / 2, "y": 1 / 2}, "size": {"x": 9 / 13, "y": 4 / 13}}[weights]
    of = suite("x", "y", weights=weights)
    (compared,) = compare_suite(of, {"a": system(a), "b": system(b)}, RESAMPLING)
    (found,) = compared.comparisons
    gain = sum(shares[task] * (np.mean(b[task]) - np.mean(a[task])) for task in sizes)
    assert (found.baseline, found.n) == ("a", 13)
    assert found.difference == pytest.approx(gain)
    assert found.difference == pytest.approx(compared.results[1].value - compared.results[0].value)
    expected = exact_p(a, b, shares)
    assert 0.001 < expected < 0.5
    # Five standard errors of a share of 4,000 draws.
    assert found.p == pytest.approx(
        expected, abs=5 * math.sqrt(expected * (1 - expected) / 4000) + 3e-4
    )


def test_a_suite_of_one_task_is_that_task() -> None:
    generator = np.random.default_rng(0)
    a, b = (system({"x": drawn(generator, share, 60)}) for share in (0.4, 0.6))
    (compared,) = compare_suite(suite("x"), {"a": a, "b": b}, RESAMPLING)
    alone = compare_evaluations("exact_match", a["x"], b["x"], "a", RESAMPLING)
    (found,) = compared.comparisons
    assert (found.difference, found.low, found.high) == pytest.approx(
        (alone.difference, alone.low, alone.high)
    )
    assert found.standard_error == pytest.approx(alone.standard_error, rel=1e-6)
    # The one is McNemar's exact test, which is what all swaps amount to.
    assert found.p == pytest.approx(alone.p, abs=0.03)


def test_equal_answers_do_not_differ() -> None:
    same = system({"x": [True, False] * 10, "y": [True] * 5})
    (compared,) = compare_suite(suite("x", "y"), {"a": same, "b": same}, RESAMPLING)
    (found,) = compared.comparisons
    assert (found.difference, found.p) == (0.0, 1.0)


def test_small_differences_in_many_tasks_add_up() -> None:
    """Ten tasks none of which shows a difference, and their mean, which does; by category too."""
    tasks = [f"t{number}" for number in range(10)]
    a = system({task: [True] * 10 + [False] * 20 for task in tasks})
    b = system({task: [True] * 12 + [False] * 18 for task in tasks})
    of = suite(*tasks, categories={"first": tasks[:5], "none": ["other"]})
    whole, first = compare_suite(of, {"a": a, "b": b, "c": a}, RESAMPLING)
    alone = compare_evaluations("exact_match", a["t0"], b["t0"], "a", RESAMPLING)
    assert alone.p == 0.5
    assert [one.suite for one in (whole, first)] == ["s", "s/first"]
    assert whole.comparisons[0].p < 0.001 < first.comparisons[0].p < 0.01
    assert whole.comparisons[0].low > 0
    assert [one.p for one in (whole.comparisons[1], first.comparisons[1])] == [1.0, 1.0]


def test_chance_alone_is_called_real_one_time_in_twenty() -> None:
    generator = np.random.default_rng(1)
    draws = Resampling(seed=0, resamples=400, confidence=0.95)
    sizes = {"x": 40, "y": 20, "z": 10}
    found = 0
    for _ in range(200):
        a, b = (system({task: drawn(generator, 0.5, n) for task, n in sizes.items()}) for _ in "ab")
        (compared,) = compare_suite(suite(*sizes), {"a": a, "b": b}, draws)
        found += compared.comparisons[0].p <= 0.05
    # Three standard errors of a share of 200.
    assert found / 200 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)
    assert found > 0
