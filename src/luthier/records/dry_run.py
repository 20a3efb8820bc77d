"""What is planned before a training, and how it is held against what was measured."""

from __future__ import annotations

from pathlib import Path

from luthier.core.units import format_duration
from luthier.core.verdict import Verdict, verdict_of
from luthier.records.base import Count, Record, Seconds

# A plan of a calibrated machine errs by some tens of per cent; by so much more, it cannot be right.
# In a shorter training it is mostly the first step that is measured.
_CREDIBLE = 3.0
_LEAST_SECONDS = 20.0


class MeasuredPlan(Record):
    """``plan.json``: what was predicted of a tuning, and what it took.

    Attributes:
        predicted_bytes: memory, by what takes it.
        predicted_peak_bytes: all of it.
        predicted_seconds: of the whole training, validations included; None where the speed of the
            device is not known.
        measured_peak_bytes: resident memory on a CPU, else the device's.
        measured_seconds: of the steps that were taken, in proportion for all that were planned.
    """

    predicted_bytes: dict[str, int]
    predicted_peak_bytes: Count
    predicted_seconds: Seconds | None = None
    measured_peak_bytes: Count | None = None
    measured_seconds: Seconds | None = None

    @property
    def doubt(self) -> str:
        """What to do about a planned time that was not the training's at all; else nothing."""
        planned, took = self.predicted_seconds, self.measured_seconds
        if not planned or not took or max(planned, took) < _LEAST_SECONDS:
            return ""
        if 1 / _CREDIBLE <= planned / took <= _CREDIBLE:
            return ""
        return (
            f"planned were {format_duration(planned)} for the whole training, and at its speed it "
            f"takes {format_duration(took)}: the speed of this machine is not what the plan takes "
            "it for; measure it with 'luthier plan calibrate' when nothing else runs"
        )


class PlanCheck(Record):
    """A plan beside what was measured."""

    run: str
    predicted_peak_bytes: Count
    measured_peak_bytes: Count
    predicted_seconds: Seconds | None = None
    measured_seconds: Seconds | None = None

    @property
    def error(self) -> float:
        """Predicted memory over measured, less one."""
        return self.predicted_peak_bytes / self.measured_peak_bytes - 1

    @property
    def seconds_error(self) -> float | None:
        """Predicted seconds over measured, less one."""
        if self.predicted_seconds is None or not self.measured_seconds:
            return None
        return self.predicted_seconds / self.measured_seconds - 1


class MethodDryRun(Record):
    """What a tuning method would take; None where the planner does not know the model."""

    method: str
    trained_parameters: Count | None = None
    steps: Count | None = None
    memory_bytes: Count | None = None
    memory_high_bytes: Count | None = None
    """The upper end of the estimate."""
    seconds: Seconds | None = None
    seconds_are_guessed: bool = False
    """Whether the speed of this machine was never measured."""
    usable_bytes: int
    notes: tuple[str, ...] = ()
    """What the method leaves as it is although it could be meant."""

    @property
    def verdict(self) -> Verdict | None:
        """Whether the expected memory and its upper end are available."""
        if self.memory_bytes is None:
            return None
        high = self.memory_high_bytes or self.memory_bytes
        return verdict_of(self.memory_bytes, high, self.usable_bytes)

    @property
    def fits(self) -> bool | None:
        """Whether the expected memory is available."""
        return None if self.verdict is None else self.verdict != "does not fit"


class DryRun(Record):
    """What a dry run found: everything was checked, nothing was trained."""

    run: Path
    task: str
    template: str
    metrics: tuple[str, ...]
    model: str
    examples: dict[str, int]
    dropped: dict[str, int]
    longest_prompt: Count
    context_window: Count
    max_steps: Count | None = None
    """The steps of each training, where they decide and the epochs do not."""
    methods: tuple[MethodDryRun, ...]
    power: tuple[str, ...] = ()
    """What the test examples can show."""
