"""Exact match of an answer that was found in a longer text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from luthier.core.errors import DataError, UsageError
from luthier.core.names import listed
from luthier.evaluation.metrics.base import SHARE, Floats, MeanMetric, Need
from luthier.records.evaluation import SampleRecord


class ExtractedMatch(MeanMetric):
    """1 where the answer that an extractor found is one of ``accepted``.

    Args:
        extractor: the name of the task's extractor, such as ``strict``.
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
        """What the extractor found in a sample's answer.

        Raises:
            DataError: the task has no such extractor.
        """
        if self._extractor not in sample.extracted:
            raise DataError(
                f"{self.name} needs what the extractor {self._extractor!r} found",
                where=f"sample {sample.id!r}",
                fix=f"the extractors are {listed(sample.extracted) or 'none'}",
            )
        return sample.extracted[self._extractor]


def match(extractor: str = "") -> ExtractedMatch:
    """The exact match of what ``extractor`` found.

    Raises:
        UsageError: no extractor is named.
    """
    if not extractor:
        raise UsageError(
            "match does not know which extractor it is of",
            fix="write match:NAME, such as match:strict",
        )
    return ExtractedMatch(extractor)
