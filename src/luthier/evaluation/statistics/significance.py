"""Paired significance tests of two systems on the same examples.

The test is exact McNemar if both systems score 0 or 1 on ungrouped examples, otherwise paired
approximate randomisation. The latter swaps the two outputs of a random half of the units and
recomputes the figure of both systems; for a mean this is the sign-flip permutation test, and for
corpus metrics such as BLEU the metric is recomputed. With few units every way to swap is tried, and
the p-value is exact.

The interval of the difference agrees with the p-value: it contains 0 exactly if the test does not
reject 0 at the interval's level (`Interval.deciding`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from luthier.evaluation.metrics.base import Floats, MeanMetric, Metric
from luthier.evaluation.statistics.bootstrap import (
    Figure,
    Resampling,
    Units,
    chunks,
    clustered_error,
    figure_interval,
    is_binary,
    jackknife_error,
    mean_interval,
)
from luthier.evaluation.statistics.intervals import Interval
from luthier.evaluation.statistics.proportions import paired_interval

EXACT_MCNEMAR = "exact McNemar"
TIE = 1e-9
"""Scores and differences this close are equal, up to the order of summation."""


@dataclass(frozen=True, slots=True)
class PairedTest:
    """The outcome of a paired test.

    Attributes:
        difference: the figure of b minus the figure of a.
        low: lower end of the interval of the difference, from the bootstrap over units.
        high: its upper end.
        p: the two-sided p-value.
        test: the name of the test.
        n: paired examples.
        units: number of swapped units.
        standard_error: of the difference, clustered by unit.
        no_interval: the reason for a missing interval.
    """

    difference: float
    low: float
    high: float
    p: float
    test: str
    n: int
    units: int
    standard_error: float
    no_interval: str = ""


def paired_test(
    metric: Metric,
    stats_a: Floats,
    stats_b: Floats,
    resampling: Resampling,
    groups: Sequence[str] | None = None,
) -> PairedTest:
    """Compare system b with system a on the same examples.

    The smallest p-value of R permutations is 1 / (R + 1): with the default 2,000 and Holm's
    correction over five comparisons 0.0025. Stricter levels need more.

    Args:
        metric: the metric.
        stats_a: its statistics for a, ``[n, k]``.
        stats_b: for b, row by row the same examples.
        resampling: draws, seed and level.
        groups: the group of each example; see `Units.of`.
    """
    units = Units.of(np.hstack([stats_a, stats_b]), groups)
    difference = difference_figure(metric)
    value = units.figure(difference)
    ungrouped = len(units) == len(stats_a)
    if isinstance(metric, MeanMetric) and ungrouped and is_binary(units.sums):
        p, test = mcnemar(stats_a[:, 0], stats_b[:, 0]), EXACT_MCNEMAR
    else:
        p = approximate_randomisation(units, difference, resampling)
        test = _randomisation(len(units), resampling)
    interval = difference_interval(metric, units, resampling)
    interval = interval.deciding(value, p, resampling.confidence)
    return PairedTest(
        difference=value,
        low=interval.low,
        high=interval.high,
        p=p,
        test=test,
        n=len(stats_a),
        units=len(units),
        standard_error=_difference_error(metric, units, difference),
        no_interval=interval.missing,
    )


def difference_interval(metric: Metric, units: Units, resampling: Resampling) -> Interval:
    """The interval of the difference of two systems.

    That of two shares for 0/1 scores of ungrouped examples, otherwise from the bootstrap over
    units.

    Args:
        metric: the metric.
        units: statistics of a and b side by side, ``[units, 2k]``.
        resampling: draws, seed and level.
    """
    reach = metric.bounds[1] - metric.bounds[0]
    bounds = (-reach, reach)
    if isinstance(metric, MeanMetric):
        if is_binary(units.sums) and (units.counts == 1).all():
            return paired_interval(units.sums[:, 0], units.sums[:, 1], resampling.confidence)
        moves = units.sums[:, 1:] - units.sums[:, :1]
        return mean_interval(Units(moves, units.counts), resampling, bounds)
    return figure_interval(units, difference_figure(metric), resampling, bounds)


def mcnemar(scores_a: Floats, scores_b: Floats) -> float:
    """The two-sided exact p-value of McNemar's test (1947) on 0/1 scores ``[n]``.

    Among the examples on which exactly one system is right, each system is equally likely to be
    that one if there is no difference: a binomial test at 1/2.
    """
    from scipy.special import bdtr

    only_a = int(np.count_nonzero(scores_a > scores_b))
    only_b = int(np.count_nonzero(scores_b > scores_a))
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def approximate_randomisation(units: Units, difference: Figure, resampling: Resampling) -> float:
    """The two-sided p-value of randomisation (Noreen 1989), exact for few units.

    Args:
        units: statistics of a and b side by side, ``[units, 2k]``.
        difference: from these to the figure of b minus that of a.
        resampling: number of draws, and seed.
    """
    observed = units.figure(difference)
    if is_enumerable(len(units), resampling):
        every = swapped_figures(units, difference, all_swaps(len(units)))
        return float(np.mean(np.abs(every) >= abs(observed) - TIE))
    return share_as_far(swapped(units, difference, resampling), observed)


def _randomisation(units: int, resampling: Resampling) -> str:
    if is_enumerable(units, resampling):
        return f"exact paired randomisation, {2**units:,} ways to swap"
    return f"paired approximate randomisation, {resampling.resamples} draws"


def is_enumerable(units: int, resampling: Resampling) -> bool:
    """Whether all ways to swap units are no more than the configured draws."""
    return units < 63 and 1 << units <= resampling.resamples


def least_p(units: int) -> float:
    """The smallest two-sided p-value possible with this number of units."""
    return 2.0 ** (1 - units)


def swapped(
    units: Units, difference: Figure, resampling: Resampling, draw: str = "randomisation"
) -> Floats:
    """The difference of two systems with the outputs swapped in a random half of the units.

    Args:
        units: statistics of a and b side by side, ``[units, 2k]``.
        difference: from these to the figure of b minus that of a.
        resampling: number of draws, and seed.
        draw: the name of the draw; other names give independent draws from the same seed.

    Returns:
        ``[R]``, one difference per draw.
    """
    swaps = drawn_swaps(len(units), resampling, draw)
    return np.concatenate([swapped_figures(units, difference, chunk) for chunk in swaps])


def swapped_figures(units: Units, difference: Figure, swaps_RU: Floats) -> Floats:
    """The difference with the chosen units swapped.

    Args:
        units: statistics of a and b side by side, ``[units, 2k]``.
        difference: from these to the figure of b minus that of a.
        swaps_RU: 1 where a unit is swapped.

    Returns:
        ``[R]``.
    """
    k = units.sums.shape[1] // 2
    moved = swaps_RU @ (units.sums[:, k:] - units.sums[:, :k])
    sums = units.sums.sum(axis=0) + np.hstack([moved, -moved])
    return difference(sums, np.full(len(swaps_RU), units.counts.sum()))


def share_as_far(drawn_R: Floats, observed: float) -> float:
    """The two-sided p-value of a difference, relative to differences due to chance.

    The observed outcome counts as one draw: p = (c + 1) / (R + 1) (Phipson and Smyth 2010), where c
    of R draws differ by at least as much.
    """
    extreme = int(np.count_nonzero(np.abs(drawn_R) >= abs(observed) - TIE))
    return (extreme + 1) / (len(drawn_R) + 1)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """P-values adjusted for their number (Holm 1979), in the order given.

    In ascending order, the i-th of m is multiplied by m - i + 1, raised to at least the previous
    one, and limited to 1.
    """
    m = len(p_values)
    adjusted = [0.0] * m
    largest = 0.0
    for rank, index in enumerate(sorted(range(m), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (m - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


def difference_figure(metric: Metric) -> Figure:
    """The figure of b minus the figure of a, from statistics of both side by side."""

    def difference(summed: Floats, count: Floats) -> Floats:
        sums_a, sums_b = np.split(summed, 2, axis=-1)
        return metric.aggregate(sums_b, count) - metric.aggregate(sums_a, count)

    return difference


def drawn_swaps(
    units: int, resampling: Resampling, draw: str = "randomisation"
) -> Iterator[Floats]:
    """Random choices of swapped units: chunks ``[R, units]`` of zeros and ones."""
    generator = resampling.generator(draw)
    for rows in chunks(resampling.resamples, units):
        yield generator.integers(2, size=(rows, units)).astype(np.float64)


def all_swaps(units: int) -> Floats:
    """Every way to swap units, ``[2 ** units, units]``; the first swaps none."""
    numbers = np.arange(2**units)[:, None]
    return ((numbers >> np.arange(units)) & 1).astype(np.float64)


def _difference_error(metric: Metric, units: Units, difference: Figure) -> float:
    """The standard error of the difference, from statistics of both side by side."""
    if isinstance(metric, MeanMetric):
        return clustered_error(units.sums[:, 1] - units.sums[:, 0], units.counts)
    return jackknife_error(units, difference)
