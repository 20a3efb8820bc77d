"""Comparison of systems on a suite of tasks, with a test over all questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from luthier.evaluation.comparison.paired import align_samples
from luthier.evaluation.metrics import Metric, get_metric
from luthier.evaluation.metrics.base import Floats
from luthier.evaluation.statistics.bootstrap import (
    Resampling,
    Units,
    figure_interval,
    jackknife_error,
)
from luthier.evaluation.statistics.intervals import Bounds, Interval
from luthier.evaluation.statistics.power import detectable_effect
from luthier.evaluation.statistics.significance import difference_interval, share_as_far, swapped
from luthier.evaluation.task import Evaluation
from luthier.records.comparison import Comparison, SuiteComparison
from luthier.tasks.suite import (
    Suite,
    combined,
    mean_metric,
    root_of_squares,
    shares,
    weighted_sum,
)


def compare_suite(
    suite: Suite, systems: Mapping[str, Mapping[str, Evaluation]], resampling: Resampling
) -> tuple[SuiteComparison, ...]:
    """The score of each system and its difference from the first, in total and by category.

    Differences are paired by example within each task, and combined over tasks like the scores. The
    test swaps the two systems' answers within each task (approximate randomisation by strata), so
    it is valid for any weights and metrics.

    Args:
        suite: the suite.
        systems: the evaluations of each system, by name and task; all of the same tasks.
        resampling: draws, seed and level.

    Returns:
        The comparison, with uncorrected p-values.

    Raises:
        DataError: the examples or their references differ.
    """
    baseline, *others = systems
    first = systems[baseline]
    scores = [
        combined(suite, {task: mean_metric(found.record) for task, found in system.items()})
        for system in systems.values()
    ]
    apart = [
        {task: _difference(task, first[task], systems[other][task], resampling) for task in first}
        for other in others
    ]
    sizes = {task: one.n for task, one in apart[0].items()}
    return tuple(
        SuiteComparison(
            suite=name,
            results=tuple(results),
            comparisons=tuple(_together(one, share, baseline) for one in apart),
        )
        for (name, share), *results in zip(shares(suite, sizes).items(), *scores, strict=True)
    )


class _Difference(NamedTuple):
    """The difference of the mean of a task's metrics.

    Attributes:
        value: the difference.
        low: lower end of its interval.
        high: its upper end.
        missing: the reason for a missing interval.
        error: its standard error.
        drawn_R: differences due to chance.
        n: number of examples.
        confidence: the level of the interval.
    """

    value: float
    low: float
    high: float
    missing: str
    error: float
    drawn_R: Floats
    n: int
    confidence: float


def _difference(
    task: str, first: Evaluation, other: Evaluation, resampling: Resampling
) -> _Difference:
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
    if len(metrics) == 1:
        interval = difference_interval(metrics[0], units, resampling)
    else:
        interval = figure_interval(units, difference, resampling, _reach(metrics))
    return _Difference(
        units.figure(difference),
        interval.low,
        interval.high,
        interval.missing,
        jackknife_error(units, difference),
        swapped(units, difference, resampling, f"randomisation of {task}"),
        first.record.metrics[0].n,
        resampling.confidence,
    )


def _reach(metrics: Sequence[Metric]) -> Bounds:
    """The smallest and the largest possible difference of the mean of some metrics."""
    reach = sum(metric.bounds[1] - metric.bounds[0] for metric in metrics) / len(metrics)
    return -reach, reach


def _together(
    apart: Mapping[str, _Difference], share: Mapping[str, float], baseline: str
) -> Comparison:
    """The difference of a suite or category, from those of its independent tasks."""
    parts = [(part, apart[task]) for task, part in share.items()]
    value, low, high = weighted_sum(parts)
    drawn_R = np.sum([part * one.drawn_R for part, one in parts], axis=0)
    error = root_of_squares([part * one.error for part, one in parts])
    p = share_as_far(drawn_R, value)
    missing = next((one.missing for _, one in parts if one.missing), "")
    confidence = next(iter(apart.values())).confidence
    interval = Interval(low, high, missing).deciding(value, p, confidence)
    return Comparison(
        baseline=baseline,
        difference=value,
        low=interval.low,
        high=interval.high,
        no_interval=interval.missing,
        p=p,
        p_adjusted=p,
        test=f"paired approximate randomisation within tasks, {len(drawn_R)} draws",
        n=sum(one.n for _, one in parts),
        standard_error=error,
        detectable=detectable_effect(error) if error else None,
    )
