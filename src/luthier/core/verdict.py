"""Whether an estimated size fits: the verdict of plans and dry runs."""

from __future__ import annotations

from typing import Literal

Verdict = Literal["fits", "may not fit", "does not fit"]


def verdict_of(expected: int, high: int, limit: int) -> Verdict:
    """Compare a memory estimate with a limit, all in bytes.

    Args:
        expected: the expected peak.
        high: the upper end of the estimate.
        limit: the available memory.
    """
    if expected > limit:
        return "does not fit"
    return "fits" if high <= limit else "may not fit"
