"""Correlation of predicted and true numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from luthier.core.errors import DataError, UsageError
from luthier.core.records import SampleRecord
from luthier.evaluate.metrics.base import Floats, Metric
from luthier.evaluate.metrics.caveats import one_sided

_MOST_RANKED = 5_000


class Correlation(Metric):
    """A correlation; 0 where the predictions, or the true values, are all equal."""

    def per_sample(self, statistics: Floats) -> Floats:
        """A pair of numbers has no correlation alone: 0 for each, ``[n]``."""
        return np.zeros(len(statistics))

    def caveats(self, samples: Sequence[SampleRecord]) -> tuple[str, ...]:
        """Warns where there is nothing to correlate with."""
        return one_sided(self.name, "value", samples)


class Pearson(Correlation):
    """Pearson's correlation: how well a straight line fits."""

    def measure(self, samples: Sequence[SampleRecord]) -> Floats:
        """x, y, x², y² and xy of each sample, ``[n, 5]``."""
        x, y = numbers(samples, self.name)
        return np.stack([x, y, x * x, y * y, x * y], axis=1)

    def aggregate(self, summed: Floats, count: Floats) -> Floats:
        """Covariance over the root of the product of the variances."""
        x, y, xx, yy, xy = np.moveaxis(summed, -1, 0) / count
        return _ratio(xy - x * y, xx - x * x, yy - y * y)

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """Nothing but the name decides it."""
        del references
        return self.name


class Spearman(Correlation):
    """Spearman's correlation: Pearson's of the ranks, with mean ranks for ties.

    Ranks depend on which examples are there, so they are made anew in each resample. For that the
    statistics say which example each count belongs to, and k is twice the number of examples.
    """

    def measure(self, samples: Sequence[SampleRecord]) -> Floats:
        """Each sample's one count, and the same times the code of its pair of levels, ``[n, 2n]``.

        Raises:
            UsageError: there are more samples than memory is good for.
        """
        n = len(samples)
        if n > _MOST_RANKED:
            raise UsageError(
                f"{self.name} ranks at most {_MOST_RANKED:,} examples, and these are {n:,}",
                fix="measure with pearson, or on fewer examples with --limit",
            )
        x, y = (np.unique(values, return_inverse=True)[1] for values in numbers(samples, self.name))
        return np.hstack([np.eye(n), np.diag((x * n + y).astype(np.float64))])

    def aggregate(self, summed: Floats, count: Floats) -> Floats:
        """The correlation of the ranks among the counted samples."""
        counts, coded = np.split(summed, 2, axis=-1)
        n = counts.shape[-1]
        rows = counts.reshape(-1, n)
        # Whoever is counted at all says which levels it has.
        codes = np.where(rows > 0, coded.reshape(-1, n) / np.maximum(rows, 1), 0).max(axis=0)
        x, y = np.divmod(np.rint(codes).astype(np.intp), n)
        rank_x, rank_y = _ranks(rows, x), _ranks(rows, y)
        totals = np.maximum(rows.sum(axis=1), 1)
        mean_x, mean_y = (rows * rank_x).sum(axis=1) / totals, (rows * rank_y).sum(axis=1) / totals
        dx, dy = rank_x - mean_x[:, None], rank_y - mean_y[:, None]
        moments = [(rows * a * b).sum(axis=1) / totals for a, b in ((dx, dy), (dx, dx), (dy, dy))]
        return _ratio(*moments).reshape(counts.shape[:-1])

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The treatment of ties."""
        del references
        return f"{self.name}|ties:mean-rank"


def numbers(samples: Sequence[SampleRecord], metric: str) -> tuple[Floats, Floats]:
    """Predictions and first references as numbers, ``[n]`` each.

    Raises:
        DataError: one of them is no number.
    """
    pairs = [(sample.prediction, sample.references[0], sample.id) for sample in samples]
    try:
        read = [(float(a), float(b)) for a, b, _ in pairs]
    except ValueError as error:
        raise DataError(
            f"{metric} needs numbers: {error}", fix="use a task of the kind rating"
        ) from (None)
    x, y = np.array(read, dtype=np.float64).reshape(-1, 2).T
    return x, y


def _ranks(weights: Floats, levels: NDArray[np.intp]) -> Floats:
    """The mean rank of each sample's level: ``[R, n]`` counts and ``[n]`` levels to ``[R, n]``."""
    by_level = np.zeros((int(levels.max()) + 1, weights.shape[0]))
    np.add.at(by_level, levels, weights.T)
    below = np.cumsum(by_level, axis=0) - by_level
    ranks: Floats = (below + (by_level + 1) / 2)[levels].T
    return ranks


def _ratio(covariance: Floats, variance_x: Floats, variance_y: Floats) -> Floats:
    # Rounding leaves a little variance in equal numbers.
    defined = (variance_x > 1e-12) & (variance_y > 1e-12)
    root = np.sqrt(np.where(defined, variance_x * variance_y, 1.0))
    return np.where(defined, covariance / root, 0.0)


pearson = partial(Pearson, "pearson")
spearman = partial(Spearman, "spearman")
