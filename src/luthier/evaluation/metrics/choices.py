"""Accuracy and calibration of answers chosen by likelihood."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from luthier.evaluation.metrics.base import SHARE, Floats, MeanMetric, Metric, Need
from luthier.evaluation.metrics.confidence import confidence, likelihoods
from luthier.records.evaluation import SampleRecord

_BINS = 10
BIN_EDGES = np.linspace(0, 1, _BINS + 1)
"""The edges of the bins of the calibration error; a bin contains its upper edge."""


class LikelihoodAccuracy(MeanMetric):
    """1 if the most likely choice is right, as in lm-evaluation-harness.

    Args:
        name: the name for users.
        length: the divisor of the log-probability of a choice's words.
        normalisation: its name in the signature.
    """

    bounds = SHARE
    needs = frozenset[Need]({"choices", "likelihoods"})

    def __init__(self, name: str, length: Callable[[str], int], normalisation: str) -> None:
        super().__init__(name)
        self._length = length
        self._normalisation = normalisation

    def measure(self, samples: Sequence[SampleRecord]) -> Floats:
        """1 or 0 for each sample, ``[n, 1]``. Of equally likely choices the first counts."""
        return np.array([[self._score(sample)] for sample in samples], dtype=np.float64)

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The normalisation."""
        del references
        return f"{self.name}|choice:argmax-logprob|norm:{self._normalisation}"

    def _score(self, sample: SampleRecord) -> float:
        logprobs = likelihoods(sample, self.name)
        rates = [
            logprob / self._length(words)
            for logprob, words in zip(logprobs, sample.words, strict=True)
        ]
        return float(sample.choices[int(np.argmax(rates))] in sample.references)


class CalibrationError(Metric):
    """The deviation of the model's confidence in its choice from its accuracy.

    The expected calibration error of Guo et al. 2017 (arXiv 1706.04599, equation 3), with ten bins
    of equal width, ((m - 1) / 10, m / 10]. The confidence is the share of the chosen one in the
    probability of all choices. With few examples it is too large on average: chance alone parts
    confidence from accuracy within a bin.
    """

    bounds = SHARE

    higher_is_better = False
    needs = frozenset[Need]({"choices", "likelihoods"})

    def measure(self, samples: Sequence[SampleRecord]) -> Floats:
        """For each bin: whether the sample is in it, its confidence, and whether it is right.

        ``[n, 30]``.
        """
        cells = np.zeros((len(samples), _BINS, 3))
        for row, sample in enumerate(samples):
            sure, right = confidence(sample, self.name)
            place = int(np.searchsorted(BIN_EDGES[1:-1], sure))
            cells[row, place] = 1.0, sure, float(right)
        return cells.reshape(len(samples), -1)

    def aggregate(self, summed: Floats, count: Floats) -> Floats:
        """The mean over bins of |confidence - accuracy|, weighted by their samples."""
        bins = summed.reshape(*summed.shape[:-1], _BINS, 3)
        error: Floats = np.abs(bins[..., 1] - bins[..., 2]).sum(axis=-1) / count
        return error

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The bins, and what confidence is."""
        del references
        return f"{self.name}|bins:{_BINS}-equal-width|confidence:share-of-choices"


class TruthfulMass(MeanMetric):
    """The share of right choices in the total probability of all choices: TruthfulQA's MC2.

    Lin et al. 2021 (arXiv 2109.07958, section 3.2): with several right and wrong choices, the
    normalised total probability of the right ones.
    """

    bounds = SHARE
    needs = frozenset[Need]({"choices", "likelihoods"})

    def measure(self, samples: Sequence[SampleRecord]) -> Floats:
        """The share of each sample, ``[n, 1]``."""
        return np.array([[self._share(sample)] for sample in samples], dtype=np.float64)

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The definition of the share."""
        del references
        return f"{self.name}|mass:right-of-all|norm:none"

    def _share(self, sample: SampleRecord) -> float:
        logprobs = np.array(likelihoods(sample, self.name))
        weights = np.exp(logprobs - logprobs.max())
        right = np.array([choice in sample.references for choice in sample.choices])
        return float(weights[right].sum() / weights.sum())


acc = partial(LikelihoodAccuracy, "acc", lambda _words: 1, "none")
acc_norm = partial(LikelihoodAccuracy, "acc_norm", len, "characters")
acc_bytes = partial(LikelihoodAccuracy, "acc_bytes", lambda words: len(words.encode()), "bytes")
ece = partial(CalibrationError, "ece")
mc1 = partial(LikelihoodAccuracy, "mc1", lambda _words: 1, "none")
mc2 = partial(TruthfulMass, "mc2")
