"""How far apart systems are on a suite, on the same questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from luthier.core.comparisons import SuiteComparison
from luthier.core.records import MetricResult
from luthier.evaluate.compare import align_samples
from luthier.evaluate.metrics import get_metric
from luthier.evaluate.metrics.base import Floats
from luthier.evaluate.statistics import Resampling, Units, figure_interval
from luthier.evaluate.task import Evaluation
from luthier.evaluate.tasks.suite import Suite, combined, mean_metric


def compare_suite(
    suite: Suite, systems: Sequence[Mapping[str, Evaluation]], resampling: Resampling
) -> tuple[SuiteComparison, ...]:
    """The score of each system, and its difference from that of the first, also by category.

    The difference of each task is paired by example; those of all tasks are put together as the
    scores are.

    Args:
        suite: the suite.
        systems: for each system its evaluations by task; all of the same tasks of the suite.
        resampling: draws, seed and level.

    Raises:
        DataError: the examples or their references differ.
    """
    first, *others = systems
    scores = [
        combined(suite, {task: mean_metric(found.record) for task, found in system.items()})
        for system in systems
    ]
    differences = [
        combined(suite, {t: _difference(first[t], other[t], resampling) for t in first})
        for other in others
    ]
    return tuple(
        SuiteComparison(suite=results[0].name, results=results, differences=apart)
        for results, apart in zip(
            zip(*scores, strict=True), zip(*differences, strict=True), strict=True
        )
    )


def _difference(first: Evaluation, other: Evaluation, resampling: Resampling) -> MetricResult:
    """The mean of a task's metrics of the other system, less that of the first."""
    metrics = [get_metric(result.name) for result in first.record.metrics]
    aligned = align_samples(first.samples, other.samples)
    stats = [[metric.measure(samples) for metric in metrics] for samples in aligned]
    cuts = np.cumsum([one.shape[1] for one in stats[0]])[:-1]

    def difference(summed: Floats, count: Floats) -> Floats:
        sides = [np.split(side, cuts, axis=-1) for side in np.split(summed, 2, axis=-1)]
        gains = [
            metric.aggregate(b, count) - metric.aggregate(a, count)
            for metric, a, b in zip(metrics, *sides, strict=True)
        ]
        mean: Floats = np.mean(gains, axis=0)
        return mean

    units = Units.of(np.hstack([*stats[0], *stats[1]]), [sample.group for sample in aligned[0]])
    low, high = figure_interval(units, difference, resampling)
    measured = {"value": units.figure(difference), "low": low, "high": high}
    return first.record.metrics[0].model_copy(update=measured)
