"""Is a difference real: paired tests of two systems on the same examples.

Which test: exact McNemar where both systems score 0 or 1 on ungrouped examples, otherwise paired
approximate randomisation. The latter swaps the two outputs of a random half of the units and
recomputes the figure of both systems; for a metric that is a mean this is the sign-flip
permutation test, and for corpus metrics such as BLEU it is the same with the metric inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from luthier.evaluate.metrics.base import Floats, MeanMetric, Metric
from luthier.evaluate.statistics import (
    Figure,
    Resampling,
    Units,
    chunks,
    clustered_error,
    figure_interval,
    is_binary,
    jackknife_error,
)

# Differences this close are ties: sums of the same numbers in another order.
_TIE = 1e-9


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
        standard_error: of the difference, clustered by unit.
    """

    difference: float
    low: float
    high: float
    p: float
    test: str
    n: int
    standard_error: float


def paired_test(
    metric: Metric,
    stats_a: Floats,
    stats_b: Floats,
    resampling: Resampling,
    groups: Sequence[str] | None = None,
) -> PairedTest:
    """Compare system b with system a on the same examples.

    The smallest p-value that R permutations can give is 1 / (R + 1): with the default 2,000 and
    Holm's correction over five comparisons 0.0025. Ask for more where a stricter level is needed.

    Args:
        metric: the metric.
        stats_a: its statistics for a, ``[n, k]``.
        stats_b: for b, row by row the same examples.
        resampling: draws, seed and level.
        groups: the group of each example; see `Units.of`.
    """
    units = Units.of(np.hstack([stats_a, stats_b]), groups)
    difference = _difference(metric)
    low, high = figure_interval(units, difference, resampling)
    ungrouped = len(units) == len(stats_a)
    if isinstance(metric, MeanMetric) and ungrouped and is_binary(units.sums):
        p, test = mcnemar(stats_a[:, 0], stats_b[:, 0]), "exact McNemar"
    else:
        p = approximate_randomisation(units, difference, resampling)
        test = f"paired approximate randomisation, {resampling.resamples} draws"
    error = _difference_error(metric, units, difference)
    return PairedTest(units.figure(difference), low, high, p, test, len(stats_a), error)


def mcnemar(scores_a: Floats, scores_b: Floats) -> float:
    """The two-sided exact p-value of McNemar's test (1947) on 0/1 scores ``[n]``.

    Among the examples on which exactly one system is right, each is equally often the one if
    there is no difference: a binomial test at 1/2.
    """
    from scipy.special import bdtr

    only_a = int(np.count_nonzero(scores_a > scores_b))
    only_b = int(np.count_nonzero(scores_b > scores_a))
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def approximate_randomisation(units: Units, difference: Figure, resampling: Resampling) -> float:
    """The two-sided p-value of approximate randomisation (Noreen 1989).

    Args:
        units: statistics of a and of b side by side, ``[units, 2k]``.
        difference: from these to the figure of b minus that of a.
        resampling: number of draws, and seed.
    """
    return share_as_far(swapped(units, difference, resampling), units.figure(difference))


def swapped(
    units: Units, difference: Figure, resampling: Resampling, draw: str = "randomisation"
) -> Floats:
    """The difference of two systems whose outputs are swapped in a random half of the units.

    Args:
        units: statistics of a and of b side by side, ``[units, 2k]``.
        difference: from these to the figure of b minus that of a.
        resampling: number of draws, and seed.
        draw: the name of the draw; others of one seed are independent of it.

    Returns:
        ``[R]``, a difference a draw.
    """
    k = units.sums.shape[1] // 2
    move = units.sums[:, k:] - units.sums[:, :k]
    total = units.sums.sum(axis=0)
    drawn = []
    for swaps in _swaps(len(units), resampling, draw):
        moved = swaps @ move
        sums = total + np.hstack([moved, -moved])
        drawn.append(difference(sums, np.full(len(swaps), units.counts.sum())))
    return np.concatenate(drawn)


def share_as_far(drawn_R: Floats, observed: float) -> float:
    """The two-sided p-value of a difference among those that chance alone makes.

    The observed outcome counts as one draw: p = (c + 1) / (R + 1) (Phipson and Smyth 2010), where
    c of R draws differ at least as much as observed.
    """
    extreme = int(np.count_nonzero(np.abs(drawn_R) >= abs(observed) - _TIE))
    return (extreme + 1) / (len(drawn_R) + 1)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """P-values adjusted for their number (Holm 1979), in the order given.

    Sorted upwards, the i-th of m is multiplied by m - i + 1, made at least as large as the one
    before it, and at most 1.
    """
    m = len(p_values)
    adjusted = [0.0] * m
    largest = 0.0
    for rank, index in enumerate(sorted(range(m), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (m - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


def _difference(metric: Metric) -> Figure:
    """The figure of b minus the figure of a, from statistics of both side by side."""

    def difference(summed: Floats, count: Floats) -> Floats:
        sums_a, sums_b = np.split(summed, 2, axis=-1)
        return metric.aggregate(sums_b, count) - metric.aggregate(sums_a, count)

    return difference


def _difference_error(metric: Metric, units: Units, difference: Figure) -> float:
    """The standard error of the difference, from statistics of both side by side."""
    if isinstance(metric, MeanMetric):
        return clustered_error(units.sums[:, 1] - units.sums[:, 0], units.counts)
    return jackknife_error(units, difference)


def _swaps(units: int, resampling: Resampling, draw: str) -> Iterator[Floats]:
    """Which units are swapped: chunks ``[R, units]`` of zeros and ones."""
    generator = resampling.generator(draw)
    for rows in chunks(resampling.resamples, units):
        yield generator.integers(2, size=(rows, units)).astype(np.float64)
