"""What a number of examples can show: the least difference, and how many a difference needs.

Miller 2024 (arXiv 2411.00640, section 5): a difference δ between two systems is found with the
wanted power if δ = (z(1 - α / 2) + z(power)) · SE, where SE is the standard error of the paired
difference. Standard errors fall with the square root of the number of examples.

Two 0/1 scores of ungrouped examples are compared by McNemar's exact test, whose power is computed
and not approximated: with few examples, or where nearly all answers agree, the normal formula
promises differences that no outcome could show.
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
# How alike the scores of two systems may be, from not at all to very.
_CORRELATIONS = (0.0, 0.5, 0.8)
_MOST_EXAMPLES = 10**9
_MOST_EXACT = 10**6


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


def detectable_difference(
    standard_error: float, units: int, *, alpha: float = ALPHA, power: float = POWER
) -> float | None:
    """The least true difference that a paired test over units finds.

    Args:
        standard_error: of the paired difference.
        units: groups of examples, or examples without groups.
        alpha: the level of the test.
        power: the probability of finding the difference.

    Returns:
        None where no difference can be found: the units are so few that no p-value reaches
        ``alpha``, or all of them differ alike, so that their spread is not known.
    """
    if least_p(units) > alpha or not standard_error:
        return None
    return detectable_effect(standard_error, alpha=alpha, power=power)


def can_show_nothing(units: int, alpha: float = ALPHA) -> bool:
    """Whether not even a gain in every unit would have a one-sided p-value of ``alpha``."""
    return least_p(units) / 2 > alpha


def too_few_units(units: int, alpha: float = ALPHA) -> str:
    """A sentence for units of which `can_show_nothing` is true."""
    called = "1 unit" if units == 1 else f"{units} units"
    return (
        f"{called} of test examples cannot show any difference at the level {alpha:g}; at least "
        f"{_least_units(alpha)} are needed, and more to show small ones."
    )


def power_notes(examples: int, units: int, alpha: float = ALPHA) -> tuple[str, ...]:
    """What test examples can show, said before anything is measured with them.

    Args:
        examples: how many there are.
        units: groups of them, or examples without a group.
        alpha: the level of the tests.
    """
    apart = f"{examples:,} test examples" + (f" in {units:,} groups" if units < examples else "")
    if can_show_nothing(units, alpha):
        called = f"{apart}: " if units < examples else ""
        return (f"{called}{too_few_units(units, alpha)}",)
    least = _detectable_gain(units, _TYPICAL_DISCORDANCE, alpha)
    if least is None or least > _TYPICAL_DISCORDANCE:
        gaining = _least_units(alpha)
        if gaining == units:
            return (f"{apart} can only show a gain that every one of {units} units has.",)
        return (
            f"{apart} can only show large gains: at least {gaining} of {units} units must gain.",
        )
    return (
        f"With {apart} you can detect gains of about {least:.2f} in a score of 0 or 1, if two "
        f"rungs disagree on a quarter of the examples (80 % power, α = {alpha:g}).",
    )


def _least_units(alpha: float) -> int:
    """The number of units that must gain before a one-sided p-value can be ``alpha``.

    The outcome is no more extreme than those in which any of the units without a gain are swapped:
    with g that gain, a share 2^-g of all ways to swap.
    """
    return math.ceil(-math.log2(alpha))


def mcnemar_power(n: int, discordance: float, difference: float, alpha: float = ALPHA) -> float:
    """The probability that McNemar's exact test finds a difference.

    Args:
        n: examples.
        discordance: the share of examples on which exactly one system is right; at least
            ``difference``.
        difference: the true difference of the two shares, not negative.
        alpha: the level of the two-sided test.

    Returns:
        The sum over the number m of such examples, binomial with n and ``discordance``, of the
        probability that the test of m rejects in the right direction, where the better system is
        right on each with the probability (1 + difference / discordance) / 2.
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
    """The least difference of two 0/1 scores that McNemar's exact test finds with ``power``.

    Args:
        n: ungrouped examples.
        discordant: those on which exactly one of the two systems was right. One more is assumed,
            so that systems that agreed everywhere are not taken for ones that always will.
        alpha: the level of the test.
        power: the probability of finding the difference.

    Returns:
        None where even a difference of 1 is not found.
    """
    return _least_share(n, (discordant + 1) / (n + 1), alpha, power)


def _detectable_gain(n: int, discordance: float, alpha: float) -> float | None:
    """The least gain that a one-sided test finds; rejections in one direction are what counts."""
    return _least_share(n, discordance, 2 * alpha, POWER)


def _least_share(n: int, discordance: float, alpha: float, power: float) -> float | None:
    """The least difference that McNemar's test finds, whose discordance is at least as large."""

    def found(difference: float) -> bool:
        return mcnemar_power(n, max(discordance, difference), difference, alpha) >= power

    return bisect_least(found, 1.0)


def bisect_least(found: Callable[[float], bool], most: float) -> float | None:
    """The least number up to ``most`` that is ``found``, to a thousandth; None: not even that."""
    if not found(most):
        return None
    low, high = 0.0, most
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


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
        UsageError: the difference is not above 0, or so small that no data set shows it.
    """
    if not difference > 0:
        raise UsageError(
            f"a difference of {difference:g} cannot be planned for", fix="give one above 0"
        )
    rows = []
    for correlation in correlations:
        least = detectable_effect(difference_error(standard_error, correlation))
        if least > difference * math.sqrt(_MOST_EXAMPLES / n):
            raise UsageError(
                f"a difference of {difference:g} needs more than {_MOST_EXAMPLES:,} examples",
                fix="give a larger one",
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
    """How many ungrouped examples a difference between two 0/1 scores needs: McNemar's exact test.

    Beyond a million examples it is the normal approximation, which the exact test then agrees with.

    Args:
        difference: the true difference of the shares that is to be found.
        base_rate: the share of right answers of one system.
        source: where it is from, in words.
        correlations: of the two systems' scores. They disagree on a share 2 p (1 - p) (1 - ρ) of
            the examples, and on at least the share ``difference``.

    Raises:
        UsageError: the difference is not between 0 and 1, or the rate is not.
    """
    approximate = plan_sample_size(difference, bernoulli_error(base_rate), 1, source, correlations)
    if difference >= 1:
        raise UsageError(
            f"shares of right answers never differ by {difference:g}",
            fix="give a difference below 1, such as 0.02 for two points in a hundred",
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
    """The least number of examples with which McNemar's exact test has the wanted power."""
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
