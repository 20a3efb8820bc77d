"""Comparison of several systems on one task, with the examples whose scores differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from luthier.evaluation.comparison.paired import align_samples, compare_evaluations, item_scores
from luthier.evaluation.metrics import Metric, get_metric
from luthier.evaluation.runner import measure
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.evaluation.statistics.significance import TIE
from luthier.evaluation.task import Evaluation
from luthier.records.comparison import DifferentItem, TaskComparison
from luthier.records.evaluation import MetricResult, SampleRecord


def compare_systems(
    systems: Mapping[str, Evaluation],
    metric_name: str | None,
    resampling: Resampling,
    num_items: int = 0,
) -> TaskComparison:
    """The comparison of each system with the first, paired by example.

    Args:
        systems: evaluations of one task by the name of the system, at least two.
        metric_name: the metric; None: the first of the first system.
        resampling: draws, seed and level.
        num_items: number of examples with differing scores to list.

    Returns:
        The comparison; ``p_adjusted`` equals ``p``, since only the caller knows their number.

    Raises:
        UsageError: the metric is unknown.
        DataError: the templates, the examples or their references differ.
    """
    (name, first), *others = systems.items()
    metric = get_metric(metric_name or first.record.metrics[0].name)
    comparisons = [
        compare_evaluations(metric.name, first, other, name, resampling) for _, other in others
    ]
    columns = [align_samples(first.samples, other.samples)[1] for other in systems.values()]
    scores = [item_scores(metric, column) for column in columns]
    sign = 1 if metric.higher_is_better else -1
    gains = [
        [sign * (b - a) for a, b in zip(scores[0], other, strict=True)] for other in scores[1:]
    ]
    return TaskComparison(
        task=first.record.task,
        metric=metric.name,
        results=tuple(_result(metric, system, resampling) for system in systems.values()),
        comparisons=tuple(comparisons),
        better=tuple(sum(gain > TIE for gain in column) for column in gains),
        worse=tuple(sum(gain < -TIE for gain in column) for column in gains),
        items=_different(columns, scores, num_items),
    )


def _result(metric: Metric, system: Evaluation, resampling: Resampling) -> MetricResult:
    """The stored result, or one computed now from the stored answers."""
    stored = (result for result in system.record.metrics if result.name == metric.name)
    return next(stored, None) or measure(metric, system.samples, resampling)


def _different(
    columns: Sequence[Sequence[SampleRecord]], scores: Sequence[Sequence[float]], most: int
) -> tuple[DifferentItem, ...]:
    """Examples with differing scores, the largest differences first, then in original order."""
    rows = list(zip(zip(*columns, strict=True), zip(*scores, strict=True), strict=True))
    apart = [row for row in rows if max(row[1]) - min(row[1]) > TIE]
    apart.sort(key=lambda row: min(row[1]) - max(row[1]))
    return tuple(
        DifferentItem(
            id=samples[0].id,
            prompt=samples[0].prompt,
            references=samples[0].references,
            answers=tuple(sample.prediction for sample in samples),
            scores=values,
            words=_words(samples[0]),
        )
        for samples, values in apart[:most]
    )


def _words(sample: SampleRecord) -> dict[str, str]:
    """The scored wording of each label; open answers have none."""
    known = len(sample.choices) == len(sample.words)
    return dict(zip(sample.choices, sample.words, strict=True)) if known else {}
