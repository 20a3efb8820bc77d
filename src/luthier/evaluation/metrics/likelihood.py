"""Perplexity of texts, per answer, word, byte or token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from luthier.core.errors import DataError
from luthier.evaluation.metrics.base import SHARE, Floats, MeanMetric, Metric, Need
from luthier.records.evaluation import SampleRecord

_LARGEST = 700.0
"""Larger exponents overflow."""


class Perplexity(Metric):
    """exp(nats / units), over all samples together: texts are weighted by length.

    Args:
        name: the name for users.
        unit: the sample's count that divides the nats; None: one per sample.
    """

    bounds = (1.0, math.inf)

    higher_is_better = False

    def __init__(self, name: str, unit: str | None) -> None:
        super().__init__(name)
        lengths: frozenset[Need] = frozenset({"lengths"} if unit else ())
        self.needs = lengths | {"likelihoods"}
        self._unit = unit

    def measure(self, samples: Sequence[SampleRecord]) -> Floats:
        """Nats and units of each sample, ``[n, 2]``.

        Raises:
            DataError: a sample was not scored, or lacks this count.
        """
        rows = [(-sum(s.likelihoods), self._units(s)) for s in samples]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def aggregate(self, summed: Floats, count: Floats) -> Floats:
        """The exponential of nats per unit."""
        perplexity: Floats = np.exp(np.minimum(summed[..., 0] / summed[..., 1], _LARGEST))
        return perplexity

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The unit."""
        del references
        return f"{self.name}|per:{self._unit or 'answer'}"

    def _units(self, sample: SampleRecord) -> int:
        units = 1 if self._unit is None else sample.counts.get(self._unit, 0)
        if not sample.likelihoods or not units:
            raise DataError(
                f"{self.name} needs the likelihood of a text and its length",
                where=f"sample {sample.id!r}",
                fix="use it with tasks of the kind text, and perplexity with the kind cloze",
            )
        return units


class BitsPerByte(Perplexity):
    """Bits per byte of UTF-8, which is comparable between tokenizers."""

    bounds = (0.0, math.inf)

    def aggregate(self, summed: Floats, count: Floats) -> Floats:
        """Nats a byte over ln 2."""
        bits: Floats = summed[..., 0] / summed[..., 1] / math.log(2)
        return bits


class GreedyAccuracy(MeanMetric):
    """1 if greedy decoding gives exactly the answer."""

    bounds = SHARE
    needs = frozenset[Need]({"likelihoods"})

    def measure(self, samples: Sequence[SampleRecord]) -> Floats:
        """1 or 0, ``[n, 1]``."""
        right = [[sample.prediction in sample.references] for sample in samples]
        return np.array(right, dtype=np.float64)

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The criterion."""
        del references
        return f"{self.name}|right:greedy-equals-answer"


perplexity = partial(Perplexity, "perplexity", None)
word_perplexity = partial(Perplexity, "word_perplexity", "words")
byte_perplexity = partial(Perplexity, "byte_perplexity", "bytes")
token_perplexity = partial(Perplexity, "token_perplexity", "tokens")
bits_per_byte = partial(BitsPerByte, "bits_per_byte", "bytes")
greedy_acc = partial(GreedyAccuracy, "greedy_acc")
