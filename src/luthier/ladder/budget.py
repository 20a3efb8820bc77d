"""The time that all rungs together may take."""

from __future__ import annotations

import time

# Evaluation of the next rung is reckoned this much longer than the longest so far.
_MARGIN = 1.3


class TimeBudget:
    """Keeps account of the time.

    Args:
        seconds: the budget; None: no limit.
        spent: seconds that an interrupted run has used already.
    """

    def __init__(self, seconds: float | None, spent: float = 0.0) -> None:
        self._seconds = seconds
        self._started = time.monotonic() - spent
        self._longest_evaluation = 0.0

    @property
    def spent(self) -> float:
        """Seconds used."""
        return time.monotonic() - self._started

    def note_evaluation(self, seconds: float) -> None:
        """Learn how long an evaluation takes."""
        self._longest_evaluation = max(self._longest_evaluation, seconds)

    @property
    def evaluation_reserve(self) -> float:
        """Seconds to keep for the evaluation of a rung."""
        return self._longest_evaluation * _MARGIN

    def training_time(self, configured: float | None) -> float | None:
        """Seconds that the next training may take; None: as many as it needs.

        Args:
            configured: ``train.max_time``.
        """
        if self._seconds is None:
            return configured
        left = self._seconds - self.spent - self.evaluation_reserve
        return min(left, configured) if configured is not None else left

    def refusal(self) -> str:
        """Why another rung cannot be started, or an empty text."""
        if self._seconds is None or self._seconds - self.spent > self.evaluation_reserve:
            return ""
        return "the time budget is used up"
