"""What a metric is: statistics of each sample, and a figure computed from their sum.

Because the figure depends on the samples only through the sum of their statistics, a bootstrap
resample is a weighted sum, and all resamples together are one matrix product.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from luthier.core.records import SampleRecord

Floats = NDArray[np.float64]
Need = Literal["answers", "choices", "likelihoods", "lengths", "written answers", "several answers"]
"""What samples may come with: an answer that can be right or wrong; a closed set of answers; the
log-probability of what was scored; the length of a text; an answer that the model wrote freely;
several answers to each question."""


class Metric(ABC):
    """A figure of merit of answered samples.

    Attributes:
        name: what users call it.
        higher_is_better: whether a rise is a gain.
        needs: what every sample must come with.
    """

    higher_is_better: ClassVar[bool] = True
    needs: frozenset[Need] = frozenset()

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def measure(self, samples: Sequence[SampleRecord]) -> Floats:
        """Sufficient statistics of each sample: ``[n, k]``.

        Raises:
            DataError: the samples lack what this metric looks at.
        """

    @abstractmethod
    def aggregate(self, summed: Floats, count: Floats) -> Floats:
        """The figure of a set of samples.

        Args:
            summed: ``[..., k]``, statistics summed over the samples of a set.
            count: ``[...]``, how many samples that were.

        Returns:
            ``[...]``.
        """

    @abstractmethod
    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """Everything that must be equal for two values to be comparable."""

    def per_sample(self, statistics: Floats) -> Floats:
        """The value of each sample alone: ``[n, k]`` to ``[n]``."""
        return self.aggregate(statistics, np.ones(len(statistics)))

    def caveats(self, samples: Sequence[SampleRecord]) -> tuple[str, ...]:
        """Reasons why this metric may mislead on these answers, for people to read."""
        del samples
        return ()


class MeanMetric(Metric):
    """A metric that is the plain mean of one score per sample (k = 1)."""

    def aggregate(self, summed: Floats, count: Floats) -> Floats:
        """The mean."""
        mean: Floats = summed[..., 0] / count
        return mean


class TextMetric(Metric):
    """A metric that looks at predicted and accepted texts alone."""

    needs = frozenset[Need]({"answers"})

    @abstractmethod
    def statistics(
        self,
        predictions: Sequence[str],
        references: Sequence[Sequence[str]],
        choices: Sequence[Sequence[str]] = (),
    ) -> Floats:
        """Sufficient statistics of each sample.

        Args:
            predictions: n generated texts.
            references: for each of them at least one accepted answer.
            choices: for each of them the closed set of answers; only metrics that need choices
                look at them.

        Returns:
            ``[n, k]``.
        """

    def measure(self, samples: Sequence[SampleRecord]) -> Floats:
        """The statistics of the texts of each sample."""
        return self.statistics(
            [sample.prediction for sample in samples],
            [sample.references for sample in samples],
            [sample.choices for sample in samples],
        )

    def caveats(self, samples: Sequence[SampleRecord]) -> tuple[str, ...]:
        """Says how many answers are empty: often a wrong template, or an end that comes at once."""
        empty = sum(not sample.prediction.strip() for sample in samples)
        return (f"{empty:,} of {len(samples):,} answers are empty",) if empty else ()


class TextScore(MeanMetric, TextMetric):
    """The plain mean of a score of each text."""

    @abstractmethod
    def score(self, prediction: str, references: Sequence[str], choices: Sequence[str]) -> float:
        """The score of one sample. ``choices`` is empty where answers are open."""

    def statistics(
        self,
        predictions: Sequence[str],
        references: Sequence[Sequence[str]],
        choices: Sequence[Sequence[str]] = (),
    ) -> Floats:
        """The score of each sample, ``[n, 1]``."""
        closed = choices or [()] * len(predictions)
        rows = zip(predictions, references, closed, strict=True)
        return np.array([[self.score(*row)] for row in rows], dtype=np.float64).reshape(-1, 1)
