"""Results by class, and how far probabilities can be trusted."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from luthier.records.base import Count, Estimate, Record, Share

MOST_CLASSES = 50
"""The number of classes up to which results are reported by class."""


class ClassResult(Record):
    """The answers of one class.

    Attributes:
        label: the class.
        n: the number of its examples.
        predicted: the number of answers with it.
        precision: the share of these answers that are right.
        recall: the share of its examples that are answered right.
        f1: the harmonic mean of both.
    """

    label: str
    n: Count
    predicted: Count
    precision: Estimate
    recall: Estimate
    f1: Estimate


class ClassReport(Record):
    """Results by class, in the order of the choices.

    Attributes:
        classes: a result for each class.
        confusion: how often an example of class i (row) was answered with class j (column). The
            last column counts answers that name no class.
    """

    classes: tuple[ClassResult, ...] = Field(min_length=2, max_length=MOST_CLASSES)
    confusion: tuple[tuple[Count, ...], ...]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        size = len(self.classes)
        if len(self.confusion) != size or any(len(row) != size + 1 for row in self.confusion):
            raise ValueError(f"the confusion matrix of {size} classes is {size} by {size + 1}")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes."""
        return tuple(result.label for result in self.classes)

    @property
    def unread(self) -> int:
        """The number of answers that name no class."""
        return sum(row[-1] for row in self.confusion)


class CalibrationBin(Record):
    """The answers within a range of confidence, without its lower end.

    Attributes:
        low: the lower end.
        high: the upper end.
        n: the number of answers.
        confidence: their mean confidence; 0 if there are none.
        accuracy: the share of right ones; 0 if there are none.
    """

    low: Share
    high: Share
    n: Count
    confidence: Share
    accuracy: Share


class Abstention(Record):
    """A model that answers only above a confidence.

    Attributes:
        threshold: the least confidence of an answer that is given.
        coverage: the share of examples that are answered.
        accuracy: the share of these answers that are right.
    """

    threshold: Share
    coverage: Estimate
    accuracy: Estimate


class Reliability(Record):
    """How far the probabilities of answers can be trusted.

    Attributes:
        bins: confidence and accuracy in bins of equal width.
        ece: the expected calibration error.
        abstention: coverage and accuracy by threshold.
    """

    bins: tuple[CalibrationBin, ...]
    ece: Estimate
    abstention: tuple[Abstention, ...]
