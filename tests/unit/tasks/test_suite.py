"""The score of a suite, from the records of its tasks."""

from __future__ import annotations

import numpy as np
import pytest
from tests.records import evaluation_record, metric_result

from luthier.evaluation.asking import load_task
from luthier.records.evaluation import MetricResult
from luthier.tasks.suite import Suite, score_suite


def result(name: str, value: float, reach: float, n: int) -> MetricResult:
    """Its interval reaches twice as far above it."""
    return metric_result(name, value, below=reach, above=2 * reach, n=n)


def suite(**keys: object) -> Suite:
    return Suite.model_validate({"kind": "suite", "name": "s", "tasks": ["a", "b", "c"], **keys})


def test_a_score_is_the_mean_over_tasks_of_each_tasks_mean_metric() -> None:
    records = [
        evaluation_record("a", result("acc", 0.8, 0.03, 10), result("f1:x", 0.6, 0.05, 10)),
        evaluation_record("b", result("acc", 0.4, 0.03, 1000)),
        evaluation_record("c", result("acc", 0.3, 0.0, 20)),
    ]
    scored = score_suite(suite(), records)
    (score,) = scored.scores
    assert score.value == pytest.approx((0.7 + 0.4 + 0.3) / 3)
    assert score.value - score.low == pytest.approx(np.hypot(0.04, 0.03) / 3)
    assert score.high - score.value == pytest.approx(2 * np.hypot(0.04, 0.03) / 3)
    assert (score.n, scored.tasks, scored.missing) == (1030, ("a", "b", "c"), ())


def test_by_size_a_score_is_that_of_all_questions_together() -> None:
    records = [
        evaluation_record("a", result("acc", 0.9, 0.1, 10)),
        evaluation_record("b", result("acc", 0.5, 0.1, 30)),
    ]
    scored = score_suite(suite(weights="size", categories={"x": ["b", "c"], "y": ["c"]}), records)
    assert [score.name for score in scored.scores] == ["s", "s/x"]
    assert scored.scores[0].value == pytest.approx((9 + 15) / 40)
    assert scored.scores[1].value == pytest.approx(0.5)
    assert scored.missing == ("c",)


def test_an_interval_of_many_tasks_covers_as_often_as_it_says() -> None:
    """Sizes as of small subjects; the intervals of the tasks are those of proportions."""
    from luthier.evaluation.metrics import get_metric
    from luthier.evaluation.statistics.bootstrap import Resampling, bootstrap_interval

    generator = np.random.default_rng(0)
    shares = generator.uniform(0.2, 0.9, size=12)
    names = [f"t{index}" for index in range(12)]
    of_all = suite(tasks=names)
    covered = 0
    for _ in range(300):
        records = []
        for name, share in zip(names, shares, strict=True):
            answers = (generator.random((40, 1)) < share).astype(float)
            estimate = bootstrap_interval(get_metric("acc"), answers, Resampling(0, 100, 0.95))
            metric = MetricResult(**estimate.model_dump(), name="acc", signature="")
            records.append(evaluation_record(name, metric))
        (score,) = score_suite(of_all, records).scores
        covered += score.low <= shares.mean() <= score.high
    assert 0.92 < covered / 300 < 0.98


def test_tasks_that_are_combined_share_one_place() -> None:
    glue = load_task("glue")
    assert isinstance(glue, Suite)
    values = dict.fromkeys(glue.tasks, 0.5) | {"glue/mnli": 0.9, "glue/mnli_mm": 0.7}
    records = [
        evaluation_record(name, result("acc", value, 0, 10)) for name, value in values.items()
    ]
    assert score_suite(glue, records).scores[0].value == pytest.approx((8 * 0.5 + 0.8) / 9)


def test_diagnostics_do_not_count() -> None:
    superglue = load_task("superglue")
    assert isinstance(superglue, Suite)
    records = [evaluation_record(name, result("acc", 0.5, 0, 10)) for name in superglue.tasks]
    records.append(evaluation_record("superglue/axb", result("matthews", 0.0, 0, 10)))
    scored = score_suite(superglue, records)
    assert scored.scores[0].value == pytest.approx(0.5)
    assert "superglue/axb" not in scored.tasks
