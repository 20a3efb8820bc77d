"""Joint scores of several samples: all answers to a question, or both halves of a pair."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

import numpy as np

from luthier.core.errors import DataError
from luthier.evaluation.metrics.base import SHARE, Floats, Metric, Need
from luthier.records.evaluation import SampleRecord


class SetMetric(Metric):
    """The share of sets (`SampleRecord.question_id`) that meet a criterion."""

    needs = frozenset[Need]({"answers", "sets of answers"})
    bounds = SHARE
    share_columns = (0, 1)

    def measure(self, samples: Sequence[SampleRecord]) -> Floats:
        """Each sample's share of its set's score, and of its set, ``[n, 2]``.

        Raises:
            DataError: a sample belongs to no set.
        """
        sets: dict[str, list[SampleRecord]] = defaultdict(list)
        for sample in samples:
            if not sample.question_id:
                raise DataError(
                    f"{self.name} scores several samples together, but this one is single",
                    where=f"sample {sample.id!r}",
                    fix="give the task question_id, such as the id of the question",
                )
            sets[sample.question_id].append(sample)
        scores = {name: float(self.is_true(members)) for name, members in sets.items()}
        shares = [1 / len(sets[sample.question_id]) for sample in samples]
        rows = [
            (share * scores[s.question_id], share) for s, share in zip(samples, shares, strict=True)
        ]
        return np.array(rows, dtype=np.float64)

    def aggregate(self, summed: Floats, count: Floats) -> Floats:
        """True sets over all sets."""
        share: Floats = summed[..., 0] / summed[..., 1]
        return share

    @abstractmethod
    def is_true(self, members: Sequence[SampleRecord]) -> bool:
        """Whether a set meets the criterion."""


class AllRight(SetMetric):
    """The share of sets in which every sample is right: MultiRC's exact match per question."""

    def is_true(self, members: Sequence[SampleRecord]) -> bool:
        """Whether every prediction is right."""
        return all(sample.prediction in sample.references for sample in members)

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The criterion."""
        del references
        return f"{self.name}|set:all-right"


class Parity(SetMetric):
    """The share of sets with equal predictions: AX-g's gender parity."""

    def is_true(self, members: Sequence[SampleRecord]) -> bool:
        """Whether all predictions are equal."""
        return len({sample.prediction for sample in members}) == 1

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The criterion."""
        del references
        return f"{self.name}|set:predicted-alike"


all_right = partial(AllRight, "all_right")
parity = partial(Parity, "parity")
