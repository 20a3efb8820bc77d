"""The interval of a share, for examples that may be grouped into units.

Wilson's score interval (Wilson 1927; Brown, Cai and DasGupta 2001, equation 4) on the *effective*
number of examples: n divided by the design effect, the variance of the share relative to that of as
many independent examples (Kish 1965), and corrected for the few units on which the design effect is
measured, by the squared ratio of two quantiles of t (Korn and Graubard 1998, "Confidence intervals
for proportions with small expected number of positive counts estimated from survey data").

Few differing units say little about the design effect; if all are right, nothing. So it is shrunk
towards its largest value, that of units with identical examples, as if two more units had shown
that. Without this, 200 examples in groups of eight of which 95 % are right cover 91 %, and if all
are right the interval has no width.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from luthier.evaluation.metrics.base import Floats
from luthier.evaluation.statistics.intervals import Interval, student_quantile

_UNITS_ALIKE = 2


def proportion_interval(sums_U: Floats, counts_U: Floats, confidence: float) -> Interval:
    """The interval of a share.

    Args:
        sums_U: the number of right examples in each unit.
        counts_U: the number of examples in each unit. Units without any tell nothing.
        confidence: the level.

    Returns:
        The interval; it is missing if no unit has an example.
    """
    counted = counts_U > 0
    if not counted.any():
        return Interval(0.0, 0.0, "there are no examples to count")
    sums_U, counts_U = sums_U[counted], counts_U[counted]
    n = effective_examples(sums_U, counts_U, confidence)
    return wilson_interval(float(sums_U.sum() / counts_U.sum()), n, confidence)


def paired_interval(scores_a: Floats, scores_b: Floats, confidence: float) -> Interval:
    """The interval of the difference of two shares on the same ungrouped examples.

    Wald's interval with half an example added to each of the four outcomes (Agresti and Min 2005,
    "Simple improved confidence intervals for comparing matched proportions", section 3).

    Args:
        scores_a: 0 or 1 for each example, ``[n]``.
        scores_b: of the other system; a positive difference means that its share is larger.
        confidence: the level.
    """
    n = len(scores_a) + 2
    gained = float(np.count_nonzero(scores_b > scores_a)) + 0.5
    lost = float(np.count_nonzero(scores_a > scores_b)) + 0.5
    centre = (gained - lost) / n
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * (
        math.sqrt(gained + lost - (gained - lost) ** 2 / n) / n
    )
    value = float((scores_b - scores_a).mean())
    return Interval(max(-1.0, min(value, centre - reach)), min(1.0, max(value, centre + reach)))


def wilson_interval(share: float, n: float, confidence: float) -> Interval:
    """Wilson's score interval of a share among ``n`` independent examples."""
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * n)) / n) / (1 + z2 / n)
    return Interval(min(share, centre - half), max(share, centre + half))


def effective_examples(sums_U: Floats, counts_U: Floats, confidence: float = 0.95) -> float:
    """The number of independent examples with the same information; see the module's docstring.

    Returns:
        n itself if every example is its own unit, and at least 1.
    """
    units, n = len(counts_U), float(counts_U.sum())
    if units == n or units < 2:
        return n
    level = (1 + confidence) / 2
    few = student_quantile(level, units - 1) / student_quantile(level, n - 1)
    return max(n / (design_effect(sums_U, counts_U) * few**2), 1.0)


def design_effect(sums_U: Floats, counts_U: Floats) -> float:
    """The variance of a share relative to that of independent examples, shrunk to its maximum.

    Returns:
        From 1, for independent examples, to Σ m_u² / n, for units of identical examples.
    """
    units, n = len(counts_U), float(counts_U.sum())
    share = float(sums_U.sum()) / n
    alike = float((counts_U**2).sum()) / n
    telling = min(np.count_nonzero(sums_U < counts_U), np.count_nonzero(sums_U > 0))
    if not 0 < share < 1:
        return alike
    residuals = sums_U - counts_U * share
    variance = units / (units - 1) * float((residuals**2).sum()) / n**2
    measured = max(variance * n / (share * (1 - share)), 1.0)
    return (telling * measured + _UNITS_ALIKE * alike) / (telling + _UNITS_ALIKE)
