"""Simultaneous tests of all pairs of systems in a ladder.

The pairs are tested by the step-down procedure of Westfall and Young 1993 ("Resampling-based
multiple testing", algorithm 2.8) on the largest standardised gain, so that with probability 1 -
alpha *no* gain that is called real is due to chance, whatever is true of the others (strong control
of the family-wise error). A choice that follows from the called gains needs no further correction,
however often it uses the data.

The joint distribution comes from swapping, as in the test of two systems: in each draw a random
half of the units exchange the two systems' answers, the same units for every pair. So pairs that
share a system keep their dependence, and the correction is smaller than Bonferroni's. Each pair on
its own is the paired randomisation test. Tests are one-sided, because only a gain of the more
expensive system matters.

With few units every way to swap is tried, and p-values are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from luthier.evaluation.metrics.base import Floats, Metric
from luthier.evaluation.statistics.bootstrap import Resampling, Units
from luthier.evaluation.statistics.significance import (
    TIE,
    all_swaps,
    difference_figure,
    drawn_swaps,
    is_enumerable,
    swapped_figures,
)

Pair = tuple[str, str]


def gain_p_values(
    metric: Metric,
    stats: Mapping[str, Floats],
    resampling: Resampling,
    groups: Sequence[str] | None = None,
) -> dict[Pair, float]:
    """Adjusted p-values of each later system being better than each earlier one.

    Args:
        metric: the metric.
        stats: its statistics ``[n, k]`` by system, row by row the same examples.
        resampling: draws, seed and level.
        groups: the group of each example; see `Units.of`.

    Returns:
        The one-sided p-value of each pair (earlier, later), adjusted for all pairs.
    """
    pairs = list(combinations(stats, 2))
    if not pairs:
        return {}
    sides = [Units.of(np.hstack([stats[a], stats[b]]), groups) for a, b in pairs]
    count = len(sides[0])
    exact = is_enumerable(count, resampling)
    swaps = [all_swaps(count)] if exact else drawn_swaps(count, resampling, "step-down")
    sign = 1 if metric.higher_is_better else -1
    figure = difference_figure(metric)
    observed_P = np.array([sign * side.figure(figure) for side in sides])
    drawn = [
        np.stack([sign * swapped_figures(side, figure, chunk) for side in sides], axis=1)
        for chunk in swaps
    ]
    p_values = step_down(observed_P, np.concatenate(drawn), exact=exact)
    return dict(zip(pairs, p_values.tolist(), strict=True))


def step_down(observed_P: Floats, drawn_RP: Floats, *, exact: bool) -> Floats:
    """Adjusted one-sided p-values by the step-down on the largest standardised gain.

    The largest gain is compared with the maximum over all pairs in each draw, the second largest
    with the maximum over all pairs except the first, and so on. P-values never decrease along the
    way.

    Args:
        observed_P: the gain of each pair.
        drawn_RP: gains due to chance, ``[R, P]``.
        exact: whether the draws enumerate all outcomes, including the observed one; otherwise the
            observed one counts as one more (Phipson and Smyth 2010).

    Returns:
        ``[P]``.
    """
    spread_P = np.sqrt((drawn_RP**2).mean(axis=0))
    spread_P = np.where(spread_P > TIE, spread_P, np.inf)  # systems that never differ
    gains_P, drawn_RP = observed_P / spread_P, drawn_RP / spread_P
    order = np.argsort(-gains_P, kind="stable")
    largest_RP = np.maximum.accumulate(drawn_RP[:, order[::-1]], axis=1)[:, ::-1]
    extreme_P = (largest_RP >= gains_P[order] - TIE).sum(axis=0)
    more = 0 if exact else 1
    adjusted_P = np.maximum.accumulate((extreme_P + more) / (len(drawn_RP) + more))
    result_P = np.empty_like(gains_P)
    result_P[order] = adjusted_P
    return result_P
