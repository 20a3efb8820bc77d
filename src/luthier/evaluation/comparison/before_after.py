"""Comparison of an evaluation before and after tuning: losses and gains, by kind and item."""

from __future__ import annotations

import numpy as np

from luthier.evaluation.comparison.paired import align_samples, compare_evaluations, item_scores
from luthier.evaluation.metrics import Metric, get_metric
from luthier.evaluation.statistics.bootstrap import Resampling, Units
from luthier.evaluation.statistics.significance import TIE, paired_test
from luthier.evaluation.task import Evaluation
from luthier.records.evaluation import SampleRecord
from luthier.records.forgetting import GroupChange, ItemChange, TaskChange


def task_change(
    metric_name: str,
    before: Evaluation,
    after: Evaluation,
    baseline_name: str,
    resampling: Resampling,
) -> tuple[TaskChange, list[ItemChange]]:
    """The changes of a task's evaluation by tuning, in total, by kind and by item.

    Args:
        metric_name: the primary metric.
        before: the evaluation before tuning.
        after: the evaluation after tuning.
        baseline_name: the name of the model before.
        resampling: draws, seed and level.

    Raises:
        DataError: the templates, the examples or their references differ.
    """
    metric = get_metric(metric_name)
    comparison = compare_evaluations(metric_name, before, after, baseline_name, resampling)
    pair = align_samples(before.samples, after.samples)
    items = _items(metric, before.record.task, *pair)
    better = 1 if metric.higher_is_better else -1
    gains = [better * (item.after - item.before) for item in items]
    groups = [
        _group_change(metric, group, *_of_group(group, *pair), resampling)
        for group in dict.fromkeys(sample.group for sample in pair[0])
    ]
    whole = _figures(metric, *pair)
    change = TaskChange(
        task=before.record.task,
        metric=metric.name,
        before=whole[0],
        after=whole[1],
        comparison=comparison,
        lost=sum(gain < -TIE for gain in gains),
        gained=sum(gain > TIE for gain in gains),
        groups=tuple(sorted(groups, key=lambda group: better * group.change)),
    )
    return change, items


def _items(
    metric: Metric, task: str, before: list[SampleRecord], after: list[SampleRecord]
) -> list[ItemChange]:
    scores = [item_scores(metric, side) for side in (before, after)]
    return [
        ItemChange(task=task, id=sample.id, group=sample.group, before=a, after=b)
        for sample, a, b in zip(before, *scores, strict=True)
    ]


def _of_group(
    group: str, before: list[SampleRecord], after: list[SampleRecord]
) -> tuple[list[SampleRecord], list[SampleRecord]]:
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if a.group == group]
    return [a for a, _ in pairs], [b for _, b in pairs]


def _group_change(
    metric: Metric,
    group: str,
    before: list[SampleRecord],
    after: list[SampleRecord],
    resampling: Resampling,
) -> GroupChange:
    stats = (metric.measure(before), metric.measure(after))
    test = paired_test(metric, *stats, resampling)
    figures = _figures(metric, before, after)
    return GroupChange(
        group=group,
        n=len(before),
        before=figures[0],
        after=figures[1],
        low=test.low,
        high=test.high,
        no_interval=test.no_interval,
    )


def _figures(
    metric: Metric, before: list[SampleRecord], after: list[SampleRecord]
) -> tuple[float, float]:
    figures = (
        Units.of(np.asarray(metric.measure(side))).figure(metric.aggregate)
        for side in (before, after)
    )
    return next(figures), next(figures)
