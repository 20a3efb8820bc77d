"""Abstention below a confidence.

A model that gives only the answers in which it is confident answers fewer examples, and is right
more often if its confidence tells right from wrong: selective prediction (El-Yaniv and Wiener 2010,
"On the foundations of noise-free selective classification", section 2). The confidence of an answer
is its probability among the choices.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from luthier.evaluation.metrics.base import SHARE, Floats, MeanMetric, Metric, Need
from luthier.evaluation.metrics.confidence import confidence
from luthier.evaluation.statistics.bootstrap import Resampling, bootstrap_interval
from luthier.records.base import Estimate
from luthier.records.classes import Abstention
from luthier.records.evaluation import SampleRecord

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""The thresholds that are reported in any case."""


class Coverage(MeanMetric):
    """The share of examples that are answered with at least a confidence.

    Args:
        threshold: the least confidence.
    """

    bounds = SHARE
    needs = frozenset[Need]({"choices", "likelihoods"})

    def __init__(self, threshold: float) -> None:
        super().__init__(f"coverage at {threshold:g}")
        self._threshold = threshold

    def measure(self, samples: Sequence[SampleRecord]) -> Floats:
        """1 for each answered sample, otherwise 0, ``[n, 1]``."""
        return answered(samples, self._threshold)[:, 1:]

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The threshold."""
        del references
        return f"coverage|confidence:share-of-choices|threshold:{self._threshold:g}"


class SelectiveAccuracy(Metric):
    """The share of right answers among those with at least a confidence.

    Args:
        threshold: the least confidence.
    """

    bounds = SHARE
    needs = frozenset[Need]({"choices", "likelihoods"})
    share_columns = (0, 1)

    def __init__(self, threshold: float) -> None:
        super().__init__(f"accuracy at {threshold:g}")
        self._threshold = threshold

    def measure(self, samples: Sequence[SampleRecord]) -> Floats:
        """Whether each sample is answered right, and whether it is answered, ``[n, 2]``."""
        return answered(samples, self._threshold)

    def aggregate(self, summed: Floats, count: Floats) -> Floats:
        """Right over all answers; 0 if there are none."""
        share: Floats = summed[..., 0] / np.where(summed[..., 1] > 0, summed[..., 1], 1.0)
        return share

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The threshold."""
        del references
        return f"accuracy|confidence:share-of-choices|threshold:{self._threshold:g}"


def answered(samples: Sequence[SampleRecord], threshold: float) -> Floats:
    """For each sample whether it is answered right, and whether it is answered: ``[n, 2]``.

    Args:
        samples: the samples.
        threshold: the least confidence of an answer that is given.

    Raises:
        DataError: choices were not scored.
    """
    cells = np.zeros((len(samples), 2))
    for row, sample in enumerate(samples):
        sure, right = confidence(sample, "abstention")
        if sure >= threshold:
            cells[row] = right, 1
    return cells


def abstention(
    samples: Sequence[SampleRecord], threshold: float, resampling: Resampling
) -> Abstention:
    """Coverage and accuracy of a model that answers only with at least a confidence.

    Args:
        samples: at least one.
        threshold: the least confidence of an answer that is given.
        resampling: the settings of the intervals, which are Wilson's.

    Raises:
        DataError: choices were not scored.
    """

    def estimate(metric: Metric) -> Estimate:
        groups = [sample.group for sample in samples]
        return bootstrap_interval(metric, metric.measure(samples), resampling, groups)

    return Abstention(
        threshold=threshold,
        coverage=estimate(Coverage(threshold)),
        accuracy=estimate(SelectiveAccuracy(threshold)),
    )
