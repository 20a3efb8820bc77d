"""Correlation of predicted and true numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from luthier.core.errors import DataError, UsageError
from luthier.core.records import SampleRecord
from luthier.evaluate.metrics.base import Floats, Metric, Need
from luthier.evaluate.metrics.caveats import one_sided

_MOST_RANKED = 4_000
# What is divided by a count after being multiplied by it may differ in the last digit.
_TIE = 1e-12


class Correlation(Metric):
    """A correlation; 0 where the predictions, or the true values, are all equal."""

    needs = frozenset[Need]({"answers"})

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

    Ranks depend on which examples are there, and on whose answers they are, so they are made anew
    in each draw. For that the statistics say which example each count belongs to, and k is three
    times the number of examples.
    """

    def measure(self, samples: Sequence[SampleRecord]) -> Floats:
        """Each sample's one count, its prediction and its true number, ``[n, 3n]``.

        Raises:
            UsageError: there are more samples than memory is good for.
        """
        n = len(samples)
        if n > _MOST_RANKED:
            raise UsageError(
                f"{self.name} ranks at most {_MOST_RANKED:,} examples, and these are {n:,}",
                fix="measure with pearson, or on fewer examples with --limit",
            )
        x, y = numbers(samples, self.name)
        return np.hstack([np.eye(n), np.diag(x), np.diag(y)])

    def aggregate(self, summed: Floats, count: Floats) -> Floats:
        """The correlation of the ranks among the counted samples."""
        counts, x, y = np.split(summed, 3, axis=-1)
        n = counts.shape[-1]
        rows = counts.reshape(-1, n)
        rank_x, rank_y = (_ranks(rows, sums.reshape(-1, n)) for sums in (x, y))
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


def _ranks(counts: Floats, sums: Floats) -> Floats:
    """The mean rank of each sample's number among all that are counted in its row.

    Args:
        counts: how often each sample is there, ``[R, n]``.
        sums: its number, so many times.

    Returns:
        ``[R, n]``; of samples that are not there, anything.
    """
    numbers = sums / np.maximum(counts, 1)
    order = np.argsort(numbers, axis=1)
    ordered = np.take_along_axis(numbers, order, axis=1)
    upto = np.cumsum(np.take_along_axis(counts, order, axis=1), axis=1)
    begins = np.ones(ordered.shape, dtype=bool)
    begins[:, 1:] = np.diff(ordered) > _TIE * np.abs(ordered[:, 1:])
    ends = np.roll(begins, -1, axis=1)
    n = ordered.shape[1]
    places = np.arange(n)
    first = np.maximum.accumulate(np.where(begins, places, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, places, n - 1)[:, ::-1], axis=1)[:, ::-1]
    until = np.take_along_axis(upto, last, axis=1)
    before = np.where(first > 0, np.take_along_axis(upto, np.maximum(first - 1, 0), axis=1), 0.0)
    ranks = np.empty_like(numbers)
    np.put_along_axis(ranks, order, (before + until + 1) / 2, axis=1)
    return ranks


def _ratio(covariance: Floats, variance_x: Floats, variance_y: Floats) -> Floats:
    # Rounding leaves a little variance in equal numbers.
    defined = (variance_x > 1e-12) & (variance_y > 1e-12)
    root = np.sqrt(np.where(defined, variance_x * variance_y, 1.0))
    return np.where(defined, covariance / root, 0.0)


pearson = partial(Pearson, "pearson")
spearman = partial(Spearman, "spearman")
