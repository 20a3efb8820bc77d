"""Observers of the training loop, which never influence it."""

from __future__ import annotations

from typing import Any, Protocol

from luthier.core.console import Console, ProgressCallback
from luthier.core.files import append_line, read_lines, write_lines
from luthier.core.units import format_bytes
from luthier.records.base import Record
from luthier.records.run_directory import RunDirectory


class StepMetrics(Record):
    """A line of ``metrics.jsonl``."""

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens: int
    tokens_per_second: float
    seconds: float
    memory_bytes: int
    """The peak so far of the writing process."""
    mfu: float | None = None
    """Model FLOPs utilisation (`Limits.tokens_per_second`), if known."""

    @property
    def plausible_mfu(self) -> float | None:
        """The utilisation to show: none above 1, where the peak was measured too low."""
        return None if self.mfu is None or self.mfu > 1 else self.mfu


class Observer(Protocol):
    """A receiver of steps and events (``start``, ``validation``, …)."""

    def on_step(self, metrics: StepMetrics) -> None:
        """Called after each optimizer step."""

    def on_event(self, event: str, **values: Any) -> None:
        """Called after each event."""


class RunLogger:
    """Writes ``metrics.jsonl`` and ``events.jsonl``."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run

    def on_step(self, metrics: StepMetrics) -> None:
        """Append a line."""
        append_line(self._run.metrics, metrics.model_dump(mode="json"))

    def on_event(self, event: str, **values: Any) -> None:
        """Append a line; on start, remove lines that an interrupted attempt logged later."""
        if event in ("start", "resume"):
            for path in (self._run.metrics, self._run.events):
                write_lines(path, [v for v in read_lines(path) if v["step"] <= values["step"]])
        append_line(self._run.events, {"event": event, **values})


class ProgressObserver:
    """Advances a progress bar and shows the state of the training."""

    def __init__(self, advance: ProgressCallback) -> None:
        self._advance = advance
        self._validation: tuple[str, ...] = ()

    def on_step(self, metrics: StepMetrics) -> None:
        """Advance by one step."""
        parts = (
            f"loss {metrics.loss:.3f}",
            *self._validation,
            f"lr {metrics.learning_rate:.3g}",
            f"norm {metrics.gradient_norm:.3g}",
            f"{metrics.tokens_per_second:,.0f} tokens/s",
            *_utilisation(metrics.plausible_mfu),
            format_bytes(metrics.memory_bytes),
        )
        self._advance(1, status=" · ".join(parts))

    def on_event(self, event: str, **values: Any) -> None:
        """Record the validation loss; count a skipped step."""
        if event == "overflow" or (event == "guard" and values["action"] == "skip"):
            self._advance(1)
        if event == "validation":
            self._validation = (f"validation {values['loss']:.3f}",)


def _utilisation(mfu: float | None) -> tuple[str, ...]:
    """The model FLOPs utilisation as text, if known."""
    return () if mfu is None else (f"MFU {mfu:.0%}",)


class WarningObserver:
    """Prints the guards' findings, and warns of a speed above the calibrated peak."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._is_above_peak = False

    def on_step(self, metrics: StepMetrics) -> None:
        """Warn once that the calibration cannot be right."""
        if metrics.mfu is None or metrics.plausible_mfu is not None or self._is_above_peak:
            return
        self._is_above_peak = True
        self._console.warn(
            f"this step reached {metrics.mfu:.0%} of the calibrated peak, so the calibration is "
            "wrong; run 'luthier plan calibrate' when this machine is idle"
        )

    def on_event(self, event: str, **values: Any) -> None:
        """Print a finding and the action taken."""
        if event == "memory":
            tokens = values["micro_batch_tokens"]
            self._console.warn(f"memory ran out; micro-batches now have {tokens} tokens")
        if event != "guard" or values["action"] == "abort":  # the error reports it
            return
        done = "; the step was skipped" if values["action"] == "skip" else ""
        self._console.warn(f"{values['message']}{done}")
