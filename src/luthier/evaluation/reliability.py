"""The reliability of probabilities: calibration in bins, its error, and abstention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from luthier.evaluation.abstention import THRESHOLDS, abstention
from luthier.evaluation.metrics.base import Floats
from luthier.evaluation.metrics.choices import BIN_EDGES, CalibrationError
from luthier.evaluation.metrics.confidence import has_confidence
from luthier.evaluation.statistics.bootstrap import Resampling, bootstrap_interval
from luthier.records.classes import CalibrationBin, Reliability
from luthier.records.evaluation import SampleRecord


def reliability(samples: Sequence[SampleRecord], resampling: Resampling) -> Reliability | None:
    """How far the probabilities of answers can be trusted.

    Args:
        samples: at least one.
        resampling: the settings of the intervals.

    Returns:
        None unless every answer is one of at least two choices that all have a likelihood.
    """
    if not all(map(has_confidence, samples)):
        return None
    metric = CalibrationError("ece")
    stats = metric.measure(samples)
    groups = [sample.group for sample in samples]
    return Reliability(
        bins=_bins(stats.sum(axis=0).reshape(-1, 3)),
        ece=bootstrap_interval(metric, stats, resampling, groups),
        abstention=tuple(abstention(samples, least, resampling) for least in THRESHOLDS),
    )


def _bins(sums: Floats) -> tuple[CalibrationBin, ...]:
    """The bins from their numbers of answers, sums of confidences, and right answers.

    Args:
        sums: ``[bins, 3]``.
    """
    counts = sums[:, 0]
    means = sums[:, 1:] / np.maximum(counts, 1)[:, None]
    return tuple(
        CalibrationBin(
            low=float(low), high=float(high), n=int(n), confidence=min(mean, 1.0), accuracy=share
        )
        for low, high, n, (mean, share) in zip(
            BIN_EDGES[:-1], BIN_EDGES[1:], counts, means.tolist(), strict=True
        )
    )
