"""The time budget of all rungs."""

from __future__ import annotations

import time

# The evaluation of the next rung is assumed to take this much longer than the longest so far.
_MARGIN = 1.3


class TimeBudget:
    """A time budget and the time spent.

    Args:
        seconds: the budget; None: no limit.
        spent: seconds spent by an earlier, interrupted run.
    """

    def __init__(self, seconds: float | None, spent: float = 0.0) -> None:
        self._seconds = seconds
        self._started = time.monotonic() - spent
        self._longest_evaluation = 0.0

    @property
    def spent(self) -> float:
        """Seconds spent."""
        return time.monotonic() - self._started

    def note_evaluation(self, seconds: float) -> None:
        """Record the duration of an evaluation."""
        self._longest_evaluation = max(self._longest_evaluation, seconds)

    @property
    def evaluation_reserve(self) -> float:
        """Seconds to reserve for the evaluation of a rung."""
        return self._longest_evaluation * _MARGIN

    def training_time(self, configured: float | None) -> float | None:
        """The time limit of the next training in seconds; None: unlimited.

        Args:
            configured: ``train.max_time``.
        """
        if self._seconds is None:
            return configured
        left = self._seconds - self.spent - self.evaluation_reserve
        return min(left, configured) if configured is not None else left

    def refusal(self) -> str:
        """The reason why no further rung can start; empty if one can."""
        if self._seconds is None or self._seconds - self.spent > self.evaluation_reserve:
            return ""
        return "the time budget is used up"
