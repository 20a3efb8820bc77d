"""Units, resampling, and the interval of a metric.

Everything here works on *units*: groups of examples that share something (a passage, a module) and
therefore count as one observation; an example without a group is its own unit. Ignoring groups
makes intervals too narrow (Miller 2024, "Adding error bars to evals", arXiv 2411.00640, section
2.2).

**Shares** (0/1 scores) have Wilson's interval on the effective number of examples; see
`evaluate.proportions`. **Everything else** has an interval from the bootstrap over units, which
recomputes the whole figure in each resample and so serves means, ratios and corpus metrics alike;
see `evaluate.intervals`.

**Standard errors** accompany the intervals: clustered by unit for means, from the jackknife for
other figures. They determine sample sizes; see `statistics.power`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from luthier.config import EvaluateConfig
from luthier.core.seeds import derive
from luthier.evaluation.metrics.base import SHARE, Floats, MeanMetric, Metric
from luthier.evaluation.statistics.intervals import (
    UNBOUNDED,
    Bounds,
    Interval,
    constant_interval,
    interval_of_draws,
    is_finite,
)
from luthier.evaluation.statistics.proportions import proportion_interval
from luthier.records.base import Estimate

# From [..., k] sums over the examples of a set and [...] numbers of examples to the figure [...].
Figure = Callable[[Floats, Floats], Floats]

ONE_UNIT = "one unit has no spread"
"""The reason for a missing interval of a single unit."""
_CELLS_AT_ONCE = 2**22
# Means this close belong to equal scores, up to rounding.
_ALIKE = 1e-12


@dataclass(frozen=True, slots=True)
class Resampling:
    """The settings of resampling: number of draws, seed, and confidence level."""

    seed: int
    resamples: int
    confidence: float

    @classmethod
    def of(cls, config: EvaluateConfig, seed: int) -> Self:
        """The settings in a configuration."""
        return cls(seed, config.resamples, config.confidence)

    def generator(self, name: str) -> np.random.Generator:
        """The random generator of the draw called ``name``."""
        return np.random.default_rng(derive(self.seed, "statistics", name))


@dataclass(frozen=True, slots=True)
class Units:
    """Statistics summed over each unit.

    Attributes:
        sums: ``[units, k]``.
        counts: ``[units]``, examples in each unit.
    """

    sums: Floats
    counts: Floats

    @classmethod
    def of(cls, stats: Floats, groups: Sequence[str] | None = None) -> Self:
        """Sum the rows of ``stats`` ``[n, k]`` that share a group.

        Args:
            stats: statistics of each example.
            groups: the group of each; an empty text is its own group. None: no groups. If all share
                one group, the examples are the units, and results apply to that group only.
        """
        members = _members(groups or [""] * len(stats))
        number = int(members.max()) + 1
        if number == 1:
            members, number = np.arange(len(stats)), len(stats)
        sums = np.zeros((number, stats.shape[1]))
        np.add.at(sums, members, stats)
        return cls(sums, np.bincount(members, minlength=number).astype(np.float64))

    def __len__(self) -> int:
        return len(self.counts)

    def figure(self, figure: Figure) -> float:
        """The figure of all units."""
        return float(figure(self.sums.sum(axis=0), self.counts.sum()))

    def resampled(self, figure: Figure, weights: Floats) -> Floats:
        """The figure of each resample, from ``[R, units]`` weights to ``[R]``."""
        return figure(weights @ self.sums, weights @ self.counts)

    def left_out(self, figure: Figure) -> Floats:
        """The figure without each unit in turn (the jackknife): ``[units]``."""
        return figure(self.sums.sum(axis=0) - self.sums, self.counts.sum() - self.counts)


def bootstrap_interval(
    metric: Metric, stats: Floats, resampling: Resampling, groups: Sequence[str] | None = None
) -> Estimate:
    """The value of a metric and its interval.

    Args:
        metric: the metric.
        stats: its statistics of each example, ``[n, k]`` with n of at least 1.
        resampling: draws, seed and level.
        groups: the group of each example; see `Units.of`.

    Returns:
        The estimate; `Estimate.no_interval` gives the reason for a missing interval.
    """
    units = Units.of(stats, groups)
    if share := _share(metric, stats, units):
        interval = proportion_interval(*share, resampling.confidence)
    elif isinstance(metric, MeanMetric):
        interval = mean_interval(units, resampling, metric.bounds)
    else:
        interval = figure_interval(units, metric.aggregate, resampling, metric.bounds)
    return Estimate(
        value=units.figure(metric.aggregate),
        low=interval.low,
        high=interval.high,
        n=len(stats),
        confidence=resampling.confidence,
        standard_error=standard_error(metric, units),
        no_interval=interval.missing,
    )


def figure_interval(
    units: Units, figure: Figure, resampling: Resampling, bounds: Bounds = UNBOUNDED
) -> Interval:
    """The interval of any figure of ``units``; see `evaluate.intervals`.

    Args:
        units: statistics.
        figure: computes the figure from their sum.
        resampling: draws, seed and level.
        bounds: the smallest and the largest possible value of the figure.
    """
    value = units.figure(figure)
    if len(units) < 2:
        return Interval(value, value, ONE_UNIT)
    draws = bootstrap_draws(units, figure, resampling)
    return interval_of_draws(value, units.left_out(figure), draws, resampling.confidence, bounds)


def bootstrap_draws(units: Units, figure: Figure, resampling: Resampling) -> Floats:
    """The figure of each bootstrap resample: ``[R]``, or ``[R, ...]`` of several figures."""
    return np.concatenate(
        [units.resampled(figure, weights) for weights in _bootstrap_weights(len(units), resampling)]
    )


def mean_interval(units: Units, resampling: Resampling, bounds: Bounds) -> Interval:
    """The interval of the mean of the first statistic over all examples.

    Args:
        units: statistics.
        resampling: draws, seed and level.
        bounds: the smallest and the largest possible score of an example.
    """
    means_U = units.sums[:, 0] / units.counts
    if is_finite(bounds) and len(units) > 1 and np.ptp(means_U) <= _ALIKE * np.abs(bounds).max():
        return constant_interval(float(means_U[0]), len(units), resampling.confidence, bounds)
    return figure_interval(units, _mean, resampling, bounds)


def _mean(summed: Floats, count: Floats) -> Floats:
    mean: Floats = summed[..., 0] / count
    return mean


def _share(metric: Metric, stats: Floats, units: Units) -> tuple[Floats, Floats] | None:
    """Successes and trials of each unit, if the figure is the share of successes."""
    if metric.share_columns:
        successes, trials = metric.share_columns
        return units.sums[:, successes], units.sums[:, trials]
    if isinstance(metric, MeanMetric) and metric.bounds == SHARE and is_binary(stats):
        return units.sums[:, 0], units.counts
    return None


def standard_error(metric: Metric, units: Units) -> float:
    """The standard error of a metric: clustered for means, else of the jackknife.

    Args:
        metric: the metric.
        units: its statistics, summed over each unit.
    """
    if isinstance(metric, MeanMetric):
        return clustered_error(units.sums[:, 0], units.counts)
    return jackknife_error(units, metric.aggregate)


def clustered_error(sums_U: Floats, counts_U: Floats) -> float:
    """The standard error of a mean over examples in units.

    √(G / (G - 1) · Σ_u (Σ_i (s_ui - s̄))²) / n over the G units: the clustered error of Miller
    2024, equation 4, with the usual correction for few clusters (Cameron and Miller 2015, section
    VI.A), with which it is that of the central limit theorem where each example is its own unit.

    Args:
        sums_U: the sum of the scores of each unit.
        counts_U: the number of examples in each.

    Returns:
        0 for a single unit.
    """
    units, n = len(sums_U), float(counts_U.sum())
    if units < 2:
        return 0.0
    residuals = sums_U - counts_U * (float(sums_U.sum()) / n)
    return math.sqrt(units / (units - 1) * float((residuals**2).sum())) / n


def jackknife_error(units: Units, figure: Figure) -> float:
    """√((G - 1) / G · Σ (θ_(u) - θ̄)²), with the figure θ_(u) without unit u.

    Efron and Tibshirani 1993, equation 11.5. 0 for a single unit.
    """
    return jackknife_spread(units.left_out(figure)) if len(units) > 1 else 0.0


def jackknife_spread(left_out_U: Floats) -> float:
    """The jackknife's standard error of a figure from its values without each unit in turn."""
    deviations = left_out_U - left_out_U.mean()
    return math.sqrt((len(left_out_U) - 1) / len(left_out_U) * float((deviations**2).sum()))


def is_binary(stats: Floats) -> bool:
    """Whether every score is 0 or 1."""
    return bool(np.isin(stats, (0.0, 1.0)).all())


def chunks(rows: int, columns: int) -> Iterator[int]:
    """Split ``rows`` so that a chunk of ``[rows, columns]`` numbers stays small in memory."""
    most = max(1, _CELLS_AT_ONCE // columns)
    for start in range(0, rows, most):
        yield min(most, rows - start)


def _bootstrap_weights(units: int, resampling: Resampling) -> Iterator[Floats]:
    """The number of draws of each unit in each resample, in chunks ``[R, units]``."""
    generator = resampling.generator("bootstrap")
    for rows in chunks(resampling.resamples, units):
        drawn = generator.integers(units, size=(rows, units))
        cells = drawn + units * np.arange(rows)[:, None]
        counts = np.bincount(cells.ravel(), minlength=rows * units)
        yield counts.reshape(rows, units).astype(np.float64)


def _members(groups: Sequence[str]) -> NDArray[np.intp]:
    """The unit number of each example."""
    names = [(group, 0) if group else ("", index) for index, group in enumerate(groups)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], dtype=np.intp)
