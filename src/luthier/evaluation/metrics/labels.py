"""Classification metrics other than accuracy.

All are computed from three counts per label: correct predictions, predictions, and true labels. A
generated text is read as accuracy reads it; one that names no label is wrong and counts for no
label. A ratio without a denominator is 0, as in scikit-learn with ``zero_division=0``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

import numpy as np

from luthier.core.errors import DataError, UsageError
from luthier.core.names import listed, named
from luthier.evaluation.metrics.base import SHARE, Floats, Metric, Need, within
from luthier.evaluation.metrics.caveats import one_sided
from luthier.evaluation.metrics.label_counts import (
    READING,
    f_measures,
    label_counts,
    shared_choices,
    shares,
    true_labels,
)
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
        labels = self.labels(shared_choices(samples, self.name))
        return label_counts(samples, labels).reshape(len(samples), -1)

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


class OneLabelMetric(LabelMetric):
    """A metric of one label, which counts as positive.

    Args:
        label: the positive label.
    """

    bounds = SHARE
    needs = LabelMetric.needs | {"labels"}
    kind: ClassVar[str]
    """The name of the metric, without its label."""

    def __init__(self, label: str) -> None:
        super().__init__(f"{self.kind}:{label}")
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

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The positive label."""
        del references
        return f"{self.kind}|average:binary|positive:{self._label}"


class F1(OneLabelMetric):
    """The F-measure of one label, the harmonic mean of precision and recall; 0 without either."""

    kind = "f1"

    def figure(self, right: Floats, predicted: Floats, true: Floats, count: Floats) -> Floats:
        """2 · right / (predicted + true)."""
        return f_measures(right, predicted, true)[..., 0]


class LabelShare(OneLabelMetric):
    """A share of the examples of one label; its interval is Wilson's, as that of every share."""

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The positive label, the reading of texts, and the interval."""
        return f"{super().signature(references)}|{READING}|zero-division:0|interval:wilson"


class Precision(LabelShare):
    """The share of the answers with one label that are right; 0 if no answer has it."""

    kind = "precision"
    share_columns = (0, 1)

    def figure(self, right: Floats, predicted: Floats, true: Floats, count: Floats) -> Floats:
        """Right / predicted."""
        return shares(right, predicted)[..., 0]


class Recall(LabelShare):
    """The share of the examples of one label that are answered right; 0 if there are none."""

    kind = "recall"
    share_columns = (0, 2)

    def figure(self, right: Floats, predicted: Floats, true: Floats, count: Floats) -> Floats:
        """Right / true."""
        return shares(right, true)[..., 0]


class BalancedAccuracy(LabelMetric):
    """The unweighted mean of the shares of all labels that have examples.

    Brodersen et al. 2010, "The balanced accuracy and its posterior distribution", equation 3, as in
    scikit-learn. A constant answer has 1 / labels, however frequent its label is.
    """

    bounds = SHARE

    def figure(self, right: Floats, predicted: Floats, true: Floats, count: Floats) -> Floats:
        """The mean over the labels with examples."""
        present = np.maximum((true > 0).sum(axis=-1), 1)
        mean: Floats = shares(right, true).sum(axis=-1) / present
        return mean

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The average, and the reading of texts."""
        del references
        return f"{self.name}|average:recall|labels:present|{READING}"

    def caveats(self, samples: Sequence[SampleRecord]) -> tuple[str, ...]:
        """A caveat that names the labels without examples, which do not count."""
        seen = frozenset[str]().union(*map(true_labels, samples))
        absent = [label for label in samples[0].choices if label not in seen]
        found = super().caveats(samples)
        if not absent or not seen:
            return found
        return (
            f"no example is {listed(absent, show=named)}: {self.name} is the mean over the others",
            *found,
        )


class MacroF1(LabelMetric):
    """The unweighted mean of the F-measures of all labels of the task."""

    bounds = SHARE

    def figure(self, right: Floats, predicted: Floats, true: Floats, count: Floats) -> Floats:
        """The mean over labels."""
        mean: Floats = f_measures(right, predicted, true).mean(axis=-1)
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


def _of_label(kind: type[OneLabelMetric], instead: str) -> Callable[..., OneLabelMetric]:
    """A factory of a metric whose argument is its label.

    Args:
        kind: the metric.
        instead: the metric over all labels.
    """

    def made(label: str = "") -> OneLabelMetric:
        if not label:
            raise UsageError(
                f"{kind.kind} needs the positive label",
                fix=f"write {kind.kind}:LABEL, such as {kind.kind}:duplicate, or {instead} for the "
                "mean over labels",
            )
        return kind(label)

    return made


f1 = _of_label(F1, "macro_f1")
precision = _of_label(Precision, "macro_f1")
recall = _of_label(Recall, "balanced_accuracy")
balanced_accuracy = partial(BalancedAccuracy, "balanced_accuracy")
macro_f1 = partial(MacroF1, "macro_f1")
matthews = partial(Matthews, "matthews")
