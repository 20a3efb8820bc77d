"""Every metric knows between which values it lies, and a target outside is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from luthier.core.errors import UsageError
from luthier.evaluation.metrics import get_metric, known_metrics
from luthier.evaluation.metrics.base import Metric, TextMetric
from luthier.evaluation.metrics.target import require_target

ARGUMENTS = {
    "f1": "f1:yes", "precision": "precision:yes", "recall": "recall:yes",
    "distinct": "distinct:2", "match": "match:number", "pass@k": "pass@2",
}  # fmt: skip
ALL = [get_metric(ARGUMENTS.get(name, name)) for name in known_metrics()]
ANSWERS = ("yes", "no", "", "the quick brown fox jumps over it", "the slow brown dog", "Ünïcode 12")


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_a_target_inside_the_bounds_is_taken_and_one_outside_refused(metric: Metric) -> None:
    low, high = metric.bounds
    assert low > -math.inf, "a built-in metric states its bounds"
    middle = low + 1 if math.isinf(high) else (low + high) / 2
    for inside in (low, middle, *([] if math.isinf(high) else [high])):
        require_target(metric, inside)
    outside = [low - 0.01, math.nan, math.inf, -math.inf]
    for value in [*outside, *([] if math.isinf(high) else [high + 0.01])]:
        with pytest.raises(UsageError, match="cannot be reached") as caught:
            require_target(metric, value)
        assert caught.value.where == "adapt.target"
        assert caught.value.fix


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_the_bounds_hold_for_measured_values(metric: Metric) -> None:
    if not isinstance(metric, TextMetric):
        return
    rows = [(one, other) for one in ANSWERS for other in ANSWERS]
    predictions = [one for one, _ in rows]
    references = [[other or "x"] for _, other in rows]
    statistics = metric.statistics(predictions, references, [("yes", "no")] * len(rows))
    total = metric.aggregate(statistics.sum(axis=0), np.float64(len(rows)))
    low, high = metric.bounds
    for values in (total, metric.per_sample(statistics)):
        assert np.all(values >= low)
        assert np.all(values <= high + 1e-9)


@pytest.mark.parametrize(
    ("name", "target", "fix"),
    [
        ("accuracy", 90, "did you mean 0.90?"),
        ("rougeL", 45, "did you mean 0.45?"),
        ("exact_match", 87.5, "did you mean 0.875?"),
        ("matthews", 60, "did you mean 0.60?"),
        ("accuracy", -0.1, "between 0 and 1"),
        ("accuracy", 1.2, "between 0 and 1"),
        ("bleu", 120, "between 0 and 100"),
        ("perplexity", 0.5, "at least 1"),
    ],
)
def test_the_refusal_says_what_was_probably_meant(name: str, target: float, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        require_target(get_metric(name), target)
    assert fix in caught.value.fix
    assert name in caught.value.problem


@pytest.mark.parametrize(("name", "target"), [("bleu", 0.3), ("chrf", 0.55), ("chrf++", 1)])
def test_a_share_on_a_scale_of_100_is_doubted(name: str, target: float) -> None:
    assert f"did you mean {target * 100:g}?" in require_target(get_metric(name), target)
    assert not require_target(get_metric(name), target * 100)


def test_a_metric_of_others_without_bounds_takes_any_number() -> None:
    class Own(type(get_metric("words"))):  # type: ignore[misc]
        bounds = Metric.bounds

    assert not require_target(Own("own"), -1e6)
    with pytest.raises(UsageError, match="finite"):
        require_target(Own("own"), math.nan)
