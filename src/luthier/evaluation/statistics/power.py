"""Statistical power: detectable differences, and sample sizes for a difference.

Miller 2024 (arXiv 2411.00640, section 5): a difference δ between two systems is detected with the
required power if δ = (z(1 - α / 2) + z(power)) · SE, where SE is the standard error of the paired
difference. Standard errors fall with the square root of the number of examples.

Two 0/1 scores of ungrouped examples are compared by McNemar's exact test, whose power is computed
exactly: with few examples, or if nearly all answers agree, the normal formula promises differences
that no outcome could show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np

from luthier.core.errors import UsageError
from luthier.evaluation.statistics.significance import least_p
from luthier.records.comparison import ExamplesNeeded, SampleSize

ALPHA = 0.05
POWER = 0.8
# The share of examples on which exactly one of two rungs is right.
_TYPICAL_DISCORDANCE = 0.25
# Multiples of the examples at hand for which the detectable gain is told.
_MORE = (4, 16, 64)
# Possible correlations of the scores of two systems, from none to high.
_CORRELATIONS = (0.0, 0.5, 0.8)
_MOST_EXAMPLES = 10**9
_MOST_EXACT = 10**6


def detectable_effect(
    standard_error: float, *, alpha: float = ALPHA, power: float = POWER
) -> float:
    """The smallest true difference that a two-sided test at ``alpha`` detects with ``power``.

    Args:
        standard_error: of the paired difference.
        alpha: the level of the test.
        power: the probability of detecting the difference.
    """
    normal = NormalDist()
    return (normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)) * standard_error


def detectable_difference(
    standard_error: float, units: int, *, alpha: float = ALPHA, power: float = POWER
) -> float | None:
    """The smallest true difference that a paired test over units detects.

    Args:
        standard_error: of the paired difference.
        units: groups of examples, or examples without groups.
        alpha: the level of the test.
        power: the probability of detecting the difference.

    Returns:
        None if no difference is detectable: there are too few units for a p-value of ``alpha``, or
        all differ by the same amount, so that their spread is unknown.
    """
    if least_p(units) > alpha or not standard_error:
        return None
    return detectable_effect(standard_error, alpha=alpha, power=power)


def can_show_nothing(units: int, alpha: float = ALPHA) -> bool:
    """Whether even a gain in every unit would have a one-sided p-value above ``alpha``."""
    return least_p(units) / 2 > alpha


def shows_only_large_gains(units: int, alpha: float = ALPHA) -> bool:
    """Whether no gain is detected by so many units if two systems disagree on a quarter of them."""
    return _shown_gain(units, alpha) is None


def too_few_units(units: int, alpha: float = ALPHA) -> str:
    """A sentence about units for which `can_show_nothing` is true."""
    called = "1 unit" if units == 1 else f"{units} units"
    return (
        f"{called} of test examples cannot show any difference at the level {alpha:g}; at least "
        f"{_least_units(alpha)} are needed, and more to show small ones."
    )


def power_notes(examples: int, units: int, alpha: float = ALPHA) -> tuple[str, ...]:
    """Notes on the power of test examples, for use before anything is measured with them.

    Args:
        examples: the number of examples.
        units: the number of groups, counting examples without a group.
        alpha: the level of the tests.
    """
    size = _sized(examples, units)
    if can_show_nothing(units, alpha):
        called = f"{size}: " if units < examples else ""
        return (f"{called}{too_few_units(units, alpha)}",)
    more = _with_more(examples, units, alpha)
    least = _shown_gain(units, alpha)
    if least is None:
        gaining = _least_units(alpha)
        shown = (
            f"{size} can only show a gain in all {units} units, between two systems and no more"
            if gaining == units
            else f"{size} can only show large gains: at least {gaining} of {units} units must gain"
        )
        return (f"{shown}{more}." if more else f"{shown}.",)
    return (
        f"With {size} you can detect gains of about {least:.2f} in a score of 0 or 1{more}, if two "
        f"systems disagree on a quarter of the examples (80 % power, α = {alpha:g}).",
    )


def _sized(examples: int, units: int) -> str:
    """The numbers of test examples and groups."""
    return f"{examples:,} test examples" + (f" in {units:,} groups" if units < examples else "")


def _shown_gain(units: int, alpha: float) -> float | None:
    """The gain that units detect; None if it is above the share on which systems differ."""
    least = _detectable_gain(units, _TYPICAL_DISCORDANCE, alpha)
    return None if least is None or least > _TYPICAL_DISCORDANCE else least


def _with_more(examples: int, units: int, alpha: float) -> str:
    """The gain that several times as many examples detect; empty if even many detect none."""
    for times in _MORE:
        least = _shown_gain(times * units, alpha)
        if least is not None:
            apart = f" in {times * units:,} groups" if units < examples else ""
            return f"; {times * examples:,}{apart} would show about {least:.2f}"
    return ""


def _least_units(alpha: float) -> int:
    """The number of units that must gain for a one-sided p-value of ``alpha``.

    As extreme as the outcome are all those with any units without a gain swapped: for g gains, a
    share 2^-g of all ways to swap.
    """
    return math.ceil(-math.log2(alpha))


def mcnemar_power(n: int, discordance: float, difference: float, alpha: float = ALPHA) -> float:
    """The probability that McNemar's exact test detects a difference.

    Args:
        n: number of examples.
        discordance: the share of examples on which exactly one system is right; at least
            ``difference``.
        difference: the true difference of the two shares, at least 0.
        alpha: the level of the two-sided test.

    Returns:
        The sum over the number m of such examples, binomial with n and ``discordance``, of the
        probability that the test of m rejects in the right direction, where the better system is
        right on each with probability (1 + difference / discordance) / 2.
    """
    from scipy.stats import binom

    # Beyond ten standard deviations there is less than 1e-20 of the probability.
    reach = 10 * math.sqrt(n * discordance * (1 - discordance)) + 10
    first, last = n * discordance - reach, n * discordance + reach
    counts = np.arange(max(0, int(first)), min(n, math.ceil(last)) + 1)
    # At most so many of m may be right for the worse system.
    most = binom.ppf(alpha / 2, counts, 0.5)
    most = np.where(binom.cdf(most, counts, 0.5) > alpha / 2, most - 1, most)
    worse = (1 - difference / discordance) / 2 if discordance else 0.5
    rejects = np.where(most >= 0, binom.cdf(most, counts, worse), 0.0)
    return float((binom.pmf(counts, n, discordance) * rejects).sum())


def detectable_share(
    n: int, discordant: int, *, alpha: float = ALPHA, power: float = POWER
) -> float | None:
    """The smallest difference of two 0/1 scores that McNemar's exact test detects with ``power``.

    Args:
        n: number of ungrouped examples.
        discordant: the number on which exactly one of the two systems was right. One more is
            assumed, so that agreement everywhere is not extrapolated.
        alpha: the level of the test.
        power: the probability of detecting the difference.

    Returns:
        None if even a difference of 1 is not detected.
    """
    return _least_share(n, (discordant + 1) / (n + 1), alpha, power)


def _detectable_gain(n: int, discordance: float, alpha: float) -> float | None:
    """The smallest gain that a one-sided test detects; only rejections in its direction count."""
    return _least_share(n, discordance, 2 * alpha, POWER)


def _least_share(n: int, discordance: float, alpha: float, power: float) -> float | None:
    """The smallest difference that McNemar's test detects, with at least this discordance."""

    def found(difference: float) -> bool:
        return mcnemar_power(n, max(discordance, difference), difference, alpha) >= power

    return bisect_least(found, 1.0)


def bisect_least(found: Callable[[float], bool], most: float) -> float | None:
    """The smallest number up to ``most`` that is ``found``, to a thousandth; None if none is."""
    if not found(most):
        return None
    low, high = 0.0, most
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def difference_error(standard_error: float, correlation: float = 0.0) -> float:
    """The standard error of the difference of two systems with equal standard errors.

    Var(a - b) = 2 (1 - ρ) Var(a): the stronger the correlation, the smaller the error (Miller 2024,
    section 4.2).
    """
    return standard_error * math.sqrt(2 * (1 - correlation))


def bernoulli_error(rate: float) -> float:
    """The standard error of one 0/1 score that is 1 at the given rate.

    Raises:
        UsageError: the rate is not between 0 and 1.
    """
    if not 0 < rate < 1:
        raise UsageError(f"a base rate of {rate:g} has no spread", fix="use one between 0 and 1")
    return math.sqrt(rate * (1 - rate))


def plan_sample_size(
    difference: float,
    standard_error: float,
    n: int,
    source: str,
    correlations: Sequence[float] = _CORRELATIONS,
) -> SampleSize:
    """The number of examples needed to detect a difference between two systems.

    Args:
        difference: the true difference to detect, in the unit of the metric.
        standard_error: of one system's figure, clustered by group.
        n: the number of examples it was measured on.
        source: the source of the spread, in words.
        correlations: possible correlations of the two systems' scores, since the true one is
            unknown.

    Raises:
        UsageError: the difference is not above 0, or too small for any data set.
    """
    if not difference > 0:
        raise UsageError(f"a difference of {difference:g} is too small", fix="use one above 0")
    rows = []
    for correlation in correlations:
        least = detectable_effect(difference_error(standard_error, correlation))
        if least > difference * math.sqrt(_MOST_EXAMPLES / n):
            raise UsageError(
                f"a difference of {difference:g} needs more than {_MOST_EXAMPLES:,} examples",
                fix="use a larger one",
            )
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


def plan_shares(
    difference: float,
    base_rate: float,
    source: str,
    correlations: Sequence[float] = _CORRELATIONS,
) -> SampleSize:
    """The number of ungrouped examples to detect a difference of 0/1 scores with McNemar's test.

    Beyond a million examples the normal approximation is used, which then agrees with the exact
    test.

    Args:
        difference: the true difference of the shares to detect.
        base_rate: the share of right answers of one system.
        source: the source of the base rate, in words.
        correlations: possible correlations of the two systems' scores. They disagree on a share 2 p
            (1 - p) (1 - ρ) of the examples, and on at least the share ``difference``.

    Raises:
        UsageError: the difference is not between 0 and 1, or the rate is not.
    """
    approximate = plan_sample_size(difference, bernoulli_error(base_rate), 1, source, correlations)
    if difference >= 1:
        raise UsageError(
            f"shares of right answers cannot differ by {difference:g}",
            fix="use a difference below 1, such as 0.02 for two percentage points",
        )
    rows = []
    for row in approximate.rows:
        discordance = 2 * base_rate * (1 - base_rate) * (1 - row.correlation)
        needed = row.examples
        if needed <= _MOST_EXACT:
            needed = _least_examples(max(discordance, difference), difference, needed)
        rows.append(row.model_copy(update={"examples": needed}))
    return approximate.model_copy(update={"rows": tuple(rows)})


def _least_examples(discordance: float, difference: float, guess: int) -> int:
    """The smallest number of examples with which McNemar's exact test has the required power."""
    most = max(8, guess)
    while mcnemar_power(most, discordance, difference) < POWER:
        most *= 2
    least = 1
    while most - least > 1:
        middle = (least + most) // 2
        if mcnemar_power(middle, discordance, difference) < POWER:
            least = middle
        else:
            most = middle
    return most
