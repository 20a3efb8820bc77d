"""Exact match of answers extracted from longer texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from luthier.core.errors import DataError, UsageError
from luthier.core.names import listed
from luthier.evaluation.metrics.base import SHARE, Floats, MeanMetric, Need
from luthier.records.evaluation import SampleRecord


class ExtractedMatch(MeanMetric):
    """1 if the answer found by an extractor is one of ``accepted``.

    Args:
        extractor: the name of an extractor of the task, such as ``strict``.
    """

    bounds = SHARE
    needs = frozenset[Need]({"written answers", "extractors"})

    def __init__(self, extractor: str) -> None:
        super().__init__(f"match:{extractor}")
        self._extractor = extractor

    def measure(self, samples: Sequence[SampleRecord]) -> Floats:
        """1 or 0, ``[n, 1]``."""
        return np.array([[self._score(sample)] for sample in samples], dtype=np.float64)

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The extractor."""
        del references
        return f"match|extractor:{self._extractor}|refs:any"

    def _score(self, sample: SampleRecord) -> float:
        return float(self.found(sample) in sample.accepted)

    def found(self, sample: SampleRecord) -> str:
        """The answer that the extractor found in a sample.

        Raises:
            DataError: the task has no such extractor.
        """
        if self._extractor not in sample.extracted:
            raise DataError(
                f"{self.name} needs the output of the extractor {self._extractor!r}",
                where=f"sample {sample.id!r}",
                fix=f"available extractors: {listed(sample.extracted) or 'none'}",
            )
        return sample.extracted[self._extractor]


def match(extractor: str = "") -> ExtractedMatch:
    """The exact match of the output of ``extractor``.

    Raises:
        UsageError: no extractor is named.
    """
    if not extractor:
        raise UsageError(
            "match needs the name of an extractor",
            fix="write match:NAME, such as match:strict",
        )
    return ExtractedMatch(extractor)
