"""Whether an estimated size fits: the answer of a plan and of a dry run."""

from __future__ import annotations

from typing import Literal

Verdict = Literal["fits", "may not fit", "does not fit"]


def verdict_of(expected: int, high: int, limit: int) -> Verdict:
    """Hold an estimate of memory against a limit, all in bytes.

    Args:
        expected: the expected peak.
        high: the upper end of the estimate.
        limit: what is available.
    """
    if expected > limit:
        return "does not fit"
    return "fits" if high <= limit else "may not fit"
