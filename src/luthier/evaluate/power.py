"""What a number of examples can show: the least difference, and how many a difference needs.

Miller 2024 (arXiv 2411.00640, section 5): a difference δ between two systems is found with the
wanted power if δ = (z(1 - α / 2) + z(power)) · SE, where SE is the standard error of the paired
difference. Standard errors fall with the square root of the number of examples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from luthier.core.comparisons import ExamplesNeeded, SampleSize
from luthier.core.errors import UsageError

ALPHA = 0.05
POWER = 0.8
# How alike the scores of two systems may be, from not at all to very.
_CORRELATIONS = (0.0, 0.5, 0.8)


def detectable_effect(
    standard_error: float, *, alpha: float = ALPHA, power: float = POWER
) -> float:
    """The least true difference that a two-sided test at ``alpha`` finds with ``power``.

    Args:
        standard_error: of the paired difference.
        alpha: the level of the test.
        power: the probability of finding the difference.
    """
    normal = NormalDist()
    return (normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)) * standard_error


def difference_error(standard_error: float, correlation: float = 0.0) -> float:
    """The standard error of the difference of two systems of equal standard error.

    Var(a - b) = 2 (1 - ρ) Var(a): the more the two agree on what is hard, the less is left
    (Miller 2024, section 4.2).
    """
    return standard_error * math.sqrt(2 * (1 - correlation))


def bernoulli_error(rate: float) -> float:
    """The standard error of one 0/1 score that is 1 at the given rate.

    Raises:
        UsageError: the rate is not between 0 and 1.
    """
    if not 0 < rate < 1:
        raise UsageError(f"a base rate of {rate:g} has no spread", fix="give one between 0 and 1")
    return math.sqrt(rate * (1 - rate))


def plan_sample_size(
    difference: float,
    standard_error: float,
    n: int,
    source: str,
    correlations: Sequence[float] = _CORRELATIONS,
) -> SampleSize:
    """How many examples a difference between two systems needs.

    Args:
        difference: the true difference that is to be found, in the metric's own unit.
        standard_error: of one system's figure, clustered where examples belong together.
        n: the examples that it was measured on.
        source: where the spread is from, in words.
        correlations: of the two systems' scores; which one holds is not known beforehand.

    Raises:
        UsageError: the difference is not above 0.
    """
    if not difference > 0:
        raise UsageError(
            f"a difference of {difference:g} cannot be planned for", fix="give one above 0"
        )
    rows = []
    for correlation in correlations:
        least = detectable_effect(difference_error(standard_error, correlation))
        needed = max(2, math.ceil(n * (least / difference) ** 2))
        rows.append(ExamplesNeeded(correlation=correlation, examples=needed, detectable=least))
    return SampleSize(
        difference=difference,
        alpha=ALPHA,
        power=POWER,
        source=source,
        measured_on=n,
        rows=tuple(rows),
    )
