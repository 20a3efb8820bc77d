"""Classification metrics other than accuracy.

All are computed from three counts per label: correct predictions, predictions, and true labels. A
prediction that is not a label is wrong and counts for no label.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import numpy as np

from luthier.core.errors import DataError, UsageError
from luthier.core.names import listed, named
from luthier.evaluation.metrics.base import SHARE, Floats, Metric, Need, within
from luthier.evaluation.metrics.caveats import one_sided
from luthier.records.evaluation import SampleRecord


class LabelMetric(Metric):
    """A metric of predicted and true labels; labels are the choices of the samples."""

    needs = frozenset[Need]({"answers", "choices"})
    divides_by_variance: ClassVar[bool] = False
    """Whether equal answers leave the metric undefined."""

    def measure(self, samples: Sequence[SampleRecord]) -> Floats:
        """For each label: predicted correctly, predicted, and true, ``[n, 3 * labels]``.

        Raises:
            DataError: samples have different labels, or lack a requested one.
        """
        labels = self.labels(_shared_choices(samples, self.name))
        rows = [[self._cell(sample, label) for label in labels] for sample in samples]
        return np.array(rows, dtype=np.float64).reshape(len(samples), -1)

    def labels(self, known: tuple[str, ...]) -> tuple[str, ...]:
        """The labels that count, among the known ones."""
        return known

    def aggregate(self, summed: Floats, count: Floats) -> Floats:
        """The figure from the counts of all labels."""
        cells = summed.reshape(*summed.shape[:-1], -1, 3)
        return self.figure(cells[..., 0], cells[..., 1], cells[..., 2], count)

    @abstractmethod
    def figure(self, right: Floats, predicted: Floats, true: Floats, count: Floats) -> Floats:
        """From counts of each label ``[..., labels]`` and of all samples ``[...]`` to ``[...]``."""

    def per_sample(self, statistics: Floats) -> Floats:
        """1 if the labels that count are predicted correctly, ``[n]``."""
        cells = statistics.reshape(len(statistics), -1, 3)
        right: Floats = (cells[..., 1] == cells[..., 2]).all(axis=-1).astype(np.float64)
        return right

    def caveats(self, samples: Sequence[SampleRecord]) -> tuple[str, ...]:
        """A caveat if there is only one true or only one predicted label."""
        return one_sided(self.name, "label", samples, is_undefined=self.divides_by_variance)

    @staticmethod
    def _cell(sample: SampleRecord, label: str) -> tuple[bool, bool, bool]:
        predicted, true = sample.prediction == label, label in sample.references
        return predicted and true, predicted, true


class F1(LabelMetric):
    """The F-measure of one label, the harmonic mean of precision and recall; 0 without either.

    Args:
        label: the label that counts as positive.
    """

    bounds = SHARE
    needs = LabelMetric.needs | {"labels"}

    def __init__(self, label: str) -> None:
        super().__init__(f"f1:{label}")
        self._label = label

    def labels(self, known: tuple[str, ...]) -> tuple[str, ...]:
        """The positive label.

        Raises:
            DataError: no sample can have it.
        """
        if self._label not in known:
            raise DataError(
                f"{self.name} names a label that the task does not have",
                where=f'field "metrics", {self.name}',
                fix=f"labels: {listed(known, show=named)}",
            )
        return (self._label,)

    def figure(self, right: Floats, predicted: Floats, true: Floats, count: Floats) -> Floats:
        """2 · right / (predicted + true)."""
        return _f_measures(right, predicted, true)[..., 0]

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The positive label."""
        del references
        return f"f1|average:binary|positive:{self._label}"


class MacroF1(LabelMetric):
    """The unweighted mean of the F-measures of all labels of the task."""

    bounds = SHARE

    def figure(self, right: Floats, predicted: Floats, true: Floats, count: Floats) -> Floats:
        """The mean over labels."""
        mean: Floats = _f_measures(right, predicted, true).mean(axis=-1)
        return mean

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The average."""
        del references
        return f"{self.name}|average:macro|labels:all"


class Matthews(LabelMetric):
    """Matthews' correlation of two labels, or of more as in Gorodkin 2004 (equation 8).

    0 if one label is always predicted or always true.
    """

    bounds = (-1.0, 1.0)
    divides_by_variance = True

    def figure(self, right: Floats, predicted: Floats, true: Floats, count: Floats) -> Floats:
        """Covariance over the root of the product of the variances, all times count²."""
        none = count - predicted.sum(axis=-1)
        covariance = right.sum(axis=-1) * count - (predicted * true).sum(axis=-1)
        spread = (count**2 - (predicted**2).sum(axis=-1) - none**2) * (
            count**2 - (true**2).sum(axis=-1)
        )
        defined = spread > 0
        root = np.sqrt(np.where(defined, spread, 1.0))
        return within(np.where(defined, covariance / root, 0.0), self.bounds)

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The formula."""
        del references
        return f"{self.name}|formula:gorodkin"


def f1(label: str = "") -> F1:
    """The F-measure of ``label``.

    Raises:
        UsageError: no label is given.
    """
    if not label:
        raise UsageError(
            "f1 needs the positive label",
            fix="write f1:LABEL, such as f1:duplicate, or macro_f1 for the mean over labels",
        )
    return F1(label)


def _f_measures(right: Floats, predicted: Floats, true: Floats) -> Floats:
    both = predicted + true
    measures: Floats = 2 * right / np.where(both > 0, both, 1.0)
    return measures


def _shared_choices(samples: Sequence[SampleRecord], name: str) -> tuple[str, ...]:
    choices = samples[0].choices
    for sample in samples:
        if sample.choices != choices:
            raise DataError(
                f"{name} needs the same labels for all examples",
                where=f"sample {sample.id!r}",
                fix="use acc or em if each example has its own choices",
            )
    return choices


macro_f1 = partial(MacroF1, "macro_f1")
matthews = partial(Matthews, "matthews")
