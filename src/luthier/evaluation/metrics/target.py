"""Validation of a target against the values that a metric can have."""

from __future__ import annotations

import math

from luthier.core.errors import UsageError
from luthier.evaluation.metrics.base import Metric

_PER_CENT = 100.0


def require_target(metric: Metric, target: float) -> str:
    """A warning if a target looks like another scale; checked before anything runs.

    Args:
        metric: the primary metric.
        target: the value to reach.

    Returns:
        A warning if the target is possible but looks like another scale; otherwise empty.

    Raises:
        UsageError: the metric cannot have this value.
    """
    low, high = metric.bounds
    if low <= target <= high and math.isfinite(target):
        of_a_share = high == _PER_CENT and 0 < target <= 1
        return (
            f"the target of {target:g} is on {metric.name}'s scale of 0 to 100; "
            f"did you mean {target * _PER_CENT:g}?"
            if of_a_share
            else ""
        )
    raise UsageError(
        f"a target of {target:g} cannot be reached: {metric.name} {_range(low, high)}",
        where="adapt.target",
        fix=_suggestion(target, low, high),
    )


def _range(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return "is a finite number"
    if math.isinf(high):
        return f"is at least {low:g}"
    return f"lies between {low:g} and {high:g}"


def _suggestion(target: float, low: float, high: float) -> str:
    share = target / _PER_CENT
    if high == 1 and target >= 2 and share <= 1:
        shown = f"{share:.2f}" if share == round(share, 2) else f"{share:g}"
        return f"did you mean {shown}?"
    return f"use a value that {_range(low, high)}"
