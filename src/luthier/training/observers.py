"""Observers see what the loop does; they never change it."""

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
    """The peak so far of the process that writes."""
    mfu: float | None = None
    """Model FLOPs utilisation (`Limits.tokens_per_second`), where it is known."""


class Observer(Protocol):
    """Told about each step and each event (``start``, ``validation``, …)."""

    def on_step(self, metrics: StepMetrics) -> None:
        """After an optimizer step."""

    def on_event(self, event: str, **values: Any) -> None:
        """After something worth knowing."""


class RunLogger:
    """Writes ``metrics.jsonl`` and ``events.jsonl``."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run

    def on_step(self, metrics: StepMetrics) -> None:
        """Append a line."""
        append_line(self._run.metrics, metrics.model_dump(mode="json"))

    def on_event(self, event: str, **values: Any) -> None:
        """Append a line; at the beginning, take back what an interrupted attempt logged later."""
        if event in ("start", "resume"):
            for path in (self._run.metrics, self._run.events):
                write_lines(path, [v for v in read_lines(path) if v["step"] <= values["step"]])
        append_line(self._run.events, {"event": event, **values})


class ProgressObserver:
    """Moves a progress bar and shows how the training goes."""

    def __init__(self, advance: ProgressCallback) -> None:
        self._advance = advance
        self._validation: tuple[str, ...] = ()

    def on_step(self, metrics: StepMetrics) -> None:
        """One step further."""
        parts = (
            f"loss {metrics.loss:.3f}",
            *self._validation,
            f"lr {metrics.learning_rate:.3g}",
            f"norm {metrics.gradient_norm:.3g}",
            f"{metrics.tokens_per_second:,.0f} tokens/s",
            *_utilisation(metrics.mfu),
            format_bytes(metrics.memory_bytes),
        )
        self._advance(1, status=" · ".join(parts))

    def on_event(self, event: str, **values: Any) -> None:
        """Remember the validation loss; count a step that was skipped."""
        if event == "overflow" or (event == "guard" and values["action"] == "skip"):
            self._advance(1)
        if event == "validation":
            self._validation = (f"validation {values['loss']:.3f}",)


def _utilisation(mfu: float | None) -> tuple[str, ...]:
    """The model FLOPs utilisation in words, where it is known and can be right."""
    return (f"MFU {mfu:.0%}",) if mfu is not None and mfu <= 1 else ()


class WarningObserver:
    """Warns of what the guards found, and of a speed above the calibrated peak."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._is_above_peak = False

    def on_step(self, metrics: StepMetrics) -> None:
        """Say once that the calibration cannot be right."""
        if metrics.mfu is None or metrics.mfu <= 1 or self._is_above_peak:
            return
        self._is_above_peak = True
        self._console.warn(
            f"this step reached {metrics.mfu:.0%} of the calibrated peak, so the calibration is "
            "wrong; run 'luthier plan calibrate' when this machine is idle"
        )

    def on_event(self, event: str, **values: Any) -> None:
        """Say what was found, and what was done."""
        if event == "memory":
            tokens = values["micro_batch_tokens"]
            self._console.warn(f"memory ran out; micro-batches have {tokens} tokens from here on")
        if event != "guard" or values["action"] == "abort":  # the error says it then
            return
        done = "; the step was left out" if values["action"] == "skip" else ""
        self._console.warn(f"{values['message']}{done}")
