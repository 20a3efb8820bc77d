"""Intervals from jackknife values and bootstrap draws of a figure.

**Ordinary samples** get the BCa interval (Efron 1987, "Better bootstrap confidence intervals"),
with levels widened as for Student's t (Hesterberg 2015, arXiv 1411.5279).

**Hard samples** get the smallest interval that contains three: BCa, Student's t, and Hall's
transform of t, which corrects for skewness (Hall 1992, "On the removal of skewness by
transformation", equation 2.4). A sample is hard if most units have the same value, if there are few
units, or if they are skewed. BCa fails for symmetric figures there (coverage 0.85 with 20 units of
which 80 % are ties), t fails for skewed ones (0.85 for lognormal scores), and each covers where the
other fails.

**Positive scores without an upper bound**, such as lengths and perplexities, may have a tail that
the sample does not show. Their interval also contains Cox's for a lognormal mean (Zhou and Gao
1997, "Confidence intervals for the log-normal mean", section 2).

**No interval** is given if none is possible: one unit; identical units and a figure without bounds;
or unbounded scores of both signs that are too skewed for any method. `benchmarks/coverage.py`
measures all of this.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from luthier.evaluation.metrics.base import Floats

_NORMAL = NormalDist()
Bounds = tuple[float, float]
UNBOUNDED: Bounds = (-math.inf, math.inf)

_FEW_UNITS = 10
_MANY_TIES = 0.5
# Skewness over the root of the number of units: above the first, BCa and t start to differ; above
# the second, every method covers less than 92 % for scores without an upper bound.
_SKEWED = 0.3
_TOO_SKEWED = 0.4
_LARGEST_LOG = 700.0


@dataclass(frozen=True, slots=True)
class Interval:
    """The two ends of an interval, into which it unpacks.

    Attributes:
        low: the lower end.
        high: the upper end.
        missing: the reason for a missing interval; both ends are then the value itself.
    """

    low: float
    high: float
    missing: str = ""

    def __iter__(self) -> Iterator[float]:
        yield self.low
        yield self.high

    def deciding(self, value: float, p: float, confidence: float) -> Interval:
        """The interval of a difference, made consistent with a test of no difference.

        It contains 0 exactly if the test does not reject 0 at the level ``1 - confidence``. Every
        difference inside is one that its own test does not reject; for 0 that is the test whose
        p-value is shown. If 0 is rejected, differences beyond it are rejected too.

        Args:
            value: the measured difference.
            p: the two-sided p-value of no difference.
            confidence: the level of the interval.
        """
        if self.missing:
            return self
        if p > 1 - confidence:
            return replace(self, low=min(self.low, 0.0), high=max(self.high, 0.0))
        nearest = math.copysign(math.ulp(0.0), value)
        if value > 0:
            return replace(self, low=max(self.low, nearest))
        return replace(self, high=min(self.high, nearest))


def is_finite(bounds: Bounds) -> bool:
    """Whether there are a smallest and a largest value."""
    return all(map(math.isfinite, bounds))


def interval_of_draws(
    value: float,
    left_out_U: Floats,
    draws_R: Floats,
    confidence: float,
    bounds: Bounds = UNBOUNDED,
) -> Interval:
    """The interval of a figure; see the module's docstring.

    Args:
        value: the figure of all units.
        left_out_U: the figure without each unit in turn, for at least two units.
        draws_R: the figure of each bootstrap resample.
        confidence: the level.
        bounds: the smallest and the largest possible value of the figure.
    """
    jackknife = _Jackknife(value, left_out_U)
    if jackknife.is_constant:
        return Interval(value, value, f"all {len(left_out_U)} units score alike")
    has_tail = math.isinf(bounds[1]) and jackknife.is_positive
    if not is_finite(bounds) and not has_tail and jackknife.is_too_skewed:
        return Interval(value, value, f"{len(left_out_U)} units are too few for such skewed scores")
    ends = np.quantile(draws_R, bca_levels(draws_R, value, left_out_U, confidence))
    intervals = [Interval(float(ends[0]), float(ends[1]))]
    if jackknife.is_hard:
        intervals += [jackknife.student(confidence), jackknife.hall(confidence)]
    if has_tail:
        intervals.append(jackknife.lognormal(confidence))
    low, high = min(one.low for one in intervals), max(one.high for one in intervals)
    return _within(Interval(low, high), bounds)


def constant_interval(value: float, units: int, confidence: float, bounds: Bounds) -> Interval:
    """The interval of a mean if every unit has the same score.

    With confidence (1 + c) / 2, at most a share q = 1 - ((1 - c) / 2)^(1 / units) of all units has
    another score (Clopper and Pearson 1934 for no successes), and no score is beyond the bounds.

    Args:
        value: the score.
        units: the number of units.
        confidence: the level.
        bounds: the smallest and the largest possible score.
    """
    share = 1 - ((1 - confidence) / 2) ** (1 / units)
    least, largest = bounds
    return Interval(value - share * (value - least), value + share * (largest - value))


def bca_levels(
    draws_R: Floats, value: float, left_out_U: Floats, confidence: float
) -> tuple[float, float]:
    """The quantiles of the draws at the ends of the BCa interval.

    Efron and Tibshirani 1993, "An introduction to the bootstrap", equations 14.10, 14.14 and
    14.15, with z replaced by sqrt(n / (n - 1)) t(n - 1) as in Hesterberg 2015.
    """
    below = float(np.count_nonzero(draws_R < value)) + float(np.count_nonzero(draws_R == value)) / 2
    edge = 1 / (len(draws_R) + 1)
    bias = _NORMAL.inv_cdf(min(max(below / len(draws_R), edge), 1 - edge))
    acceleration = _acceleration(left_out_U)
    units = len(left_out_U)
    reach = student_quantile((1 + confidence) / 2, units - 1) * math.sqrt(units / (units - 1))
    low, high = (bias + side * reach for side in (-1, 1))
    return (
        _NORMAL.cdf(bias + low / max(1 - acceleration * low, edge)),
        _NORMAL.cdf(bias + high / max(1 - acceleration * high, edge)),
    )


def student_quantile(level: float, degrees: float) -> float:
    """The quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, level))


class _Jackknife:
    """The spread and skewness of a figure, from its pseudo-values.

    The pseudo-value of unit u is G·θ - (G - 1)·θ_(u) (Tukey 1958); for a mean over units of equal
    size it is the score of the unit.
    """

    def __init__(self, value: float, left_out_U: Floats) -> None:
        self._value = value
        self._units = len(left_out_U)
        self._pseudo = self._units * value - (self._units - 1) * left_out_U
        self._deviations = self._pseudo - self._pseudo.mean()
        largest = float(np.abs(self._deviations).max())
        scale = max(abs(value), float(np.abs(self._pseudo).max()), 1e-300)
        self.is_constant = largest <= 1e-12 * scale
        self._largest = largest
        rounded = self._deviations.round(12) if largest > 1e-9 else self._deviations
        # Units without the most common value: only they reveal the spread.
        self._telling = self._units - int(np.unique(rounded, return_counts=True)[1].max())

    @property
    def skew(self) -> float:
        """The skewness of the units over the root of their number."""
        scaled = self._deviations / self._largest  # powers of tiny deviations would underflow
        second, third = float((scaled**2).mean()), float((scaled**3).mean())
        return third / (math.sqrt(second) ** 3 * math.sqrt(self._units))

    @property
    def is_hard(self) -> bool:
        """Whether BCa is unreliable: see the module's docstring."""
        return self._units < _FEW_UNITS or self._has_many_ties or abs(self.skew) > _SKEWED

    @property
    def is_positive(self) -> bool:
        """Whether every unit contributes positively."""
        return bool((self._pseudo > 0).all())

    @property
    def is_too_skewed(self) -> bool:
        """Whether no method covers: see the module's docstring."""
        return not self._has_many_ties and abs(self.skew) > _TOO_SKEWED

    @property
    def _has_many_ties(self) -> bool:
        return self._telling < (1 - _MANY_TIES) * self._units

    def student(self, confidence: float) -> Interval:
        """Student's t interval."""
        reach = self._reach(confidence) * self._error
        return Interval(self._value - reach, self._value + reach)

    def hall(self, confidence: float) -> Interval:
        """The interval of t transformed by g(t) = t + s t²/3 + s² t³/27 + s/6, s the `skew`."""
        reach, skew = self._reach(confidence), self.skew
        if abs(skew) < 1e-6:
            return self.student(confidence)

        def back(transformed: float) -> float:
            cube = 1 + skew * (transformed - skew / 6)
            return 3 / skew * (math.copysign(abs(cube) ** (1 / 3), cube) - 1)

        return Interval(
            self._value - back(reach) * self._error, self._value - back(-reach) * self._error
        )

    def lognormal(self, confidence: float) -> Interval:
        """Cox's interval of a lognormal mean, with Student's t in place of the normal quantile.

        exp(m + s²/2 ± t √(s²/n + s⁴/(2(n - 1)))) with mean m and variance s² of the logarithms.
        """
        logs = np.log(self._pseudo)
        variance = float(logs.var(ddof=1))
        centre = float(logs.mean()) + variance / 2
        error = math.sqrt(variance / self._units + variance**2 / (2 * (self._units - 1)))
        reach = student_quantile((1 + confidence) / 2, self._units - 1) * error
        return Interval(math.exp(centre - reach), math.exp(min(centre + reach, _LARGEST_LOG)))

    @property
    def _error(self) -> float:
        squares = float((self._deviations**2).sum())
        return math.sqrt(squares / (self._units * (self._units - 1)))

    def _reach(self, confidence: float) -> float:
        degrees = max(self._telling, 2) if self._has_many_ties else self._units - 1
        return student_quantile((1 + confidence) / 2, degrees)


def _acceleration(left_out_U: Floats) -> float:
    """Efron and Tibshirani 1993, equation 14.15: a sixth of the jackknife's skewness."""
    deviations = left_out_U.mean() - left_out_U
    largest = float(np.abs(deviations).max())
    if largest == 0:
        return 0.0
    deviations = deviations / largest
    cubes, squares = float((deviations**3).sum()), float((deviations**2).sum())
    return cubes / (6 * math.sqrt(squares) ** 3)


def _within(interval: Interval, bounds: Bounds) -> Interval:
    least, largest = bounds
    return replace(interval, low=max(least, interval.low), high=min(largest, interval.high))
