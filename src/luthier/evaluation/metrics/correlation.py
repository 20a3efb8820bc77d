"""Correlation of predicted and true numbers.

Both are centred and scaled before computing statistics. A correlation does not depend on that, but
the rounding of its sums does: without it numbers such as 1e8 + x would lose all variation. Paired
tests swap the answers of two systems, whose numbers must then have one scale. So both are put on
the scale of the true values, which they share. Only answers too far from the true values, which
would lose digits this way, get their own scale and are swapped on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from luthier.core.errors import DataError, UsageError
from luthier.evaluation.metrics.base import Floats, Metric, Need
from luthier.records.evaluation import SampleRecord

_MOST_RANKED = 4_000
# A product with a count divided by the same count may differ in the last digit.
_TIE = 1e-12
# Further away, in standard deviations, than this loses more than six of sixteen digits.
_FAR = 1e3
_MOST_POWERS = 100
# Sums of n squares are accurate to about n times the rounding error of one.
_ROUNDING = 1e-14


class Correlation(Metric):
    """A correlation; 0 where the predictions, or the true values, are all equal."""

    bounds = (-1.0, 1.0)
    needs = frozenset[Need]({"answers"})

    def per_sample(self, statistics: Floats) -> Floats:
        """0 for each, ``[n]``: a single pair of numbers has no correlation."""
        return np.zeros(len(statistics))

    def caveats(self, samples: Sequence[SampleRecord]) -> tuple[str, ...]:
        """A caveat if predictions or true values do not vary."""
        said, true = numbers(samples, self.name)
        for values, whose in ((true, "true value"), (said, "answer")):
            if len(values) and (values == values[0]).all():
                return (
                    f"every {whose} is {values[0]:g}: {self.name} is not defined there, and is "
                    "given as 0",
                )
        return ()


class Pearson(Correlation):
    """Pearson's correlation: the strength of a linear relation."""

    def measure(self, samples: Sequence[SampleRecord]) -> Floats:
        """x, y, x², y² and xy of each sample, centred and scaled, ``[n, 5]``."""
        said, true = numbers(samples, self.name)
        scale, own = _Scale.of(true), _Scale.of(said)
        x, y = (scale if scale.serves(own) else own).apply(said), scale.apply(true)
        return np.stack([x, y, x * x, y * y, x * y], axis=1)

    def aggregate(self, summed: Floats, count: Floats) -> Floats:
        """Covariance over the root of the product of the variances."""
        x, y, xx, yy, xy = np.moveaxis(summed, -1, 0) / count
        least = _ROUNDING * count
        return _ratio(xy - x * y, xx - x * x, yy - y * y, (least * xx, least * yy))

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The name, since there are no options."""
        del references
        return self.name


class Spearman(Correlation):
    """Spearman's correlation: Pearson's of the ranks, with mean ranks for ties.

    Ranks depend on the set of examples and on the system, so they are recomputed in each draw. The
    statistics therefore identify the example of each count, and k is three times the number of
    examples.
    """

    def measure(self, samples: Sequence[SampleRecord]) -> Floats:
        """Each sample's one count, its prediction and its true number, ``[n, 3n]``.

        Raises:
            UsageError: there are too many samples for the memory.
        """
        n = len(samples)
        if n > _MOST_RANKED:
            raise UsageError(
                f"{self.name} ranks at most {_MOST_RANKED:,} examples, but there are {n:,}",
                fix="measure with pearson, or on fewer examples with --limit",
            )
        said, true = numbers(samples, self.name)
        scale = _Scale.of(true)
        if abs(scale.centre) > _FAR * scale.spread and scale.serves(_Scale.of(said)):
            said, true = scale.apply(said), scale.apply(true)
        x, y = _told_apart(said), _told_apart(true)
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
        covariance, variance_x, variance_y = moments
        ratio = _ratio(covariance, variance_x, variance_y, (1e-12, 1e-12))
        return ratio.reshape(counts.shape[:-1])

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The treatment of ties."""
        del references
        return f"{self.name}|ties:mean-rank"


def numbers(samples: Sequence[SampleRecord], metric: str) -> tuple[Floats, Floats]:
    """Predictions and first references as numbers, ``[n]`` each.

    Raises:
        DataError: one of them is not a finite number.
    """
    pairs = [(sample.prediction, sample.references[0], sample.id) for sample in samples]
    try:
        read = [(float(a), float(b)) for a, b, _ in pairs]
    except ValueError as error:
        raise DataError(
            f"{metric} needs numbers: {error}", fix="use a task of the kind rating"
        ) from (None)
    x, y = np.array(read, dtype=np.float64).reshape(-1, 2).T
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        name = next(pairs[i][2] for i, pair in enumerate(read) if not np.isfinite(pair).all())
        raise DataError(
            f"{metric} needs finite numbers", where=f"sample {name!r}", fix="leave the sample out"
        )
    return x, y


@dataclass(frozen=True, slots=True)
class _Scale:
    """The location and scale of some numbers.

    Attributes:
        power: numbers times 2 to this power are small enough for their squares.
        centre: the mean of the scaled numbers.
        spread: the standard deviation of the scaled numbers; 0 if all are equal.
    """

    power: int
    centre: float
    spread: float

    @classmethod
    def of(cls, values: Floats) -> Self:
        """The scale of at least one number."""
        power = -int(np.frexp(np.abs(values).max())[1])
        near = _times_power(values, power)
        if (values == values[0]).all():
            return cls(power, float(near[0]), 0.0)
        centre = math.fsum(near) / len(near)
        apart = near - centre
        largest = float(np.abs(apart).max())
        return cls(
            power, centre, largest * math.sqrt(math.fsum((apart / largest) ** 2) / len(near))
        )

    def serves(self, other: _Scale) -> bool:
        """Whether numbers of another scale keep their digits on this one."""
        shift = self.power - other.power
        if not self.spread or not other.spread or abs(shift) > _MOST_POWERS:
            return False
        centre, spread = (math.ldexp(value, shift) for value in (other.centre, other.spread))
        near = abs(self.centre - centre) < _FAR * spread
        return near and 1 / _FAR < spread / self.spread < _FAR

    def apply(self, values: Floats) -> Floats:
        """The numbers on this scale; zeros if it has no spread."""
        if not self.spread:
            return np.zeros_like(values)
        scaled: Floats = (_times_power(values, self.power) - self.centre) / self.spread
        return scaled


def _times_power(values: Floats, power: int) -> Floats:
    """The exact product; in two steps, since 2 to the power may overflow."""
    scaled: Floats = np.ldexp(np.ldexp(values, power // 2), power - power // 2)
    return scaled


def _told_apart(values: Floats) -> Floats:
    """The numbers, or their ranks if different ones are so close that they would count as ties.

    Args:
        values: ``[n]``.
    """
    distinct, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    if (np.diff(distinct) > 2 * _TIE * np.abs(distinct[1:])).all():
        return values
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def _ranks(counts: Floats, sums: Floats) -> Floats:
    """The mean rank of each sample's number among all that are counted in its row.

    Args:
        counts: the number of draws of each sample, ``[R, n]``.
        sums: the count times the sample's number.

    Returns:
        ``[R, n]``; arbitrary for samples that are not drawn.
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


def _ratio(
    covariance: Floats,
    variance_x: Floats,
    variance_y: Floats,
    least: tuple[Floats | float, Floats | float],
) -> Floats:
    """The correlation; 0 if a variance is no larger than the rounding of equal numbers."""
    defined = (variance_x > least[0]) & (variance_y > least[1])
    roots = [np.sqrt(np.where(defined, variance, 1.0)) for variance in (variance_x, variance_y)]
    return np.where(defined, np.clip(covariance / roots[0] / roots[1], -1.0, 1.0), 0.0)


pearson = partial(Pearson, "pearson")
spearman = partial(Spearman, "spearman")
