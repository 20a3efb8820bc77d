"""Results by class: precision, recall and F1 with intervals, and the confusion matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from luthier.evaluation.metrics.base import SHARE, Floats
from luthier.evaluation.metrics.label_counts import (
    f_measures,
    label_counts,
    predicted_label,
    true_labels,
)
from luthier.evaluation.metrics.labels import Precision, Recall
from luthier.evaluation.statistics.bootstrap import (
    ONE_UNIT,
    Resampling,
    Units,
    bootstrap_draws,
    bootstrap_interval,
    jackknife_spread,
)
from luthier.evaluation.statistics.intervals import Interval, interval_of_draws
from luthier.records.base import Estimate
from luthier.records.classes import MOST_CLASSES, ClassReport, ClassResult
from luthier.records.evaluation import SampleRecord


def class_report(samples: Sequence[SampleRecord], resampling: Resampling) -> ClassReport | None:
    """The results by class; each equals the metric of that class.

    Args:
        samples: at least one.
        resampling: the settings of the intervals.

    Returns:
        The report; None unless all samples share 2 to `MOST_CLASSES` choices of which exactly one
        is right.
    """
    labels = samples[0].choices
    if not 2 <= len(labels) <= MOST_CLASSES or len({*labels}) < len(labels):
        return None
    if any(sample.choices != labels or len(true_labels(sample)) != 1 for sample in samples):
        return None
    return _report(samples, labels, resampling)


def _report(
    samples: Sequence[SampleRecord], labels: tuple[str, ...], resampling: Resampling
) -> ClassReport:
    cells = label_counts(samples, labels)
    groups = [sample.group for sample in samples]
    totals = cells.sum(axis=0).astype(int).tolist()
    results = [
        ClassResult(
            label=label,
            n=true,
            predicted=predicted,
            precision=bootstrap_interval(Precision(label), cells[:, place], resampling, groups),
            recall=bootstrap_interval(Recall(label), cells[:, place], resampling, groups),
            f1=f1,
        )
        for place, (label, (_, predicted, true), f1) in enumerate(
            zip(labels, totals, _f1_estimates(cells, groups, resampling), strict=True)
        )
    ]
    return ClassReport(classes=tuple(results), confusion=_confusion(samples, labels))


def _f1_estimates(cells: Floats, groups: Sequence[str], resampling: Resampling) -> list[Estimate]:
    """The F-measure of each class, all from the same resamples.

    Args:
        cells: `label_counts` of the samples, ``[n, classes, 3]``.
        groups: the group of each sample.
        resampling: the settings of the intervals.
    """
    units = Units.of(cells.reshape(len(cells), -1), groups)
    values = _f1_figure(units.sums.sum(axis=0), units.counts.sum())
    left_out, draws = units.left_out(_f1_figure), bootstrap_draws(units, _f1_figure, resampling)
    return [
        _estimate(float(value), left_out[:, place], draws[:, place], len(cells), resampling)
        for place, value in enumerate(values)
    ]


def _f1_figure(summed: Floats, count: Floats) -> Floats:
    """The F-measure of each class: ``[..., 3 * classes]`` to ``[..., classes]``."""
    del count
    counts = summed.reshape(*summed.shape[:-1], -1, 3)
    return f_measures(counts[..., 0], counts[..., 1], counts[..., 2])


def _estimate(
    value: float, left_out_U: Floats, draws_R: Floats, n: int, resampling: Resampling
) -> Estimate:
    if len(left_out_U) < 2:
        interval = Interval(value, value, ONE_UNIT)
    else:
        interval = interval_of_draws(value, left_out_U, draws_R, resampling.confidence, SHARE)
    return Estimate(
        value=value,
        low=interval.low,
        high=interval.high,
        n=n,
        confidence=resampling.confidence,
        standard_error=jackknife_spread(left_out_U),
        no_interval=interval.missing,
    )


def _confusion(
    samples: Sequence[SampleRecord], labels: tuple[str, ...]
) -> tuple[tuple[int, ...], ...]:
    """The number of examples by true (row) and predicted label (column), then by none."""
    pairs = Counter(
        (label, predicted_label(sample)) for sample in samples for label in true_labels(sample)
    )
    return tuple(tuple(pairs[true, said] for said in (*labels, None)) for true in labels)
