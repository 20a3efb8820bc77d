"""Observers of a training that disturb it."""

from __future__ import annotations

import os
import signal
from typing import Any

from luthier.training.observers import StepMetrics


class StopAt:
    """Asks this process to stop after a step, as a scheduler does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, metrics: StepMetrics) -> None:
        """Stop, if it is that step."""
        if metrics.step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_event(self, event: str, **values: Any) -> None:
        """Nothing."""
