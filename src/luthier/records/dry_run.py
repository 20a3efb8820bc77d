"""Plans made before a training, and their comparison with measurements."""

from __future__ import annotations

from pathlib import Path

from luthier.core.units import format_duration
from luthier.core.verdict import Verdict, verdict_of
from luthier.records.base import Count, Record, Seconds

# A calibrated plan is off by some tens of per cent; a factor this large means it is wrong. Shorter
# trainings measure mostly the first, slower step.
_CREDIBLE = 3.0
_LEAST_SECONDS = 20.0


class MeasuredPlan(Record):
    """``plan.json``: predicted and measured memory and time of a training.

    Attributes:
        predicted_bytes: memory by component.
        predicted_peak_bytes: their peak.
        predicted_seconds: of the whole training including validations; None if the speed of the
            device is unknown.
        measured_peak_bytes: resident memory on a CPU, otherwise device memory.
        measured_seconds: of the steps taken, extrapolated to all planned steps.
    """

    predicted_bytes: dict[str, int]
    predicted_peak_bytes: Count
    predicted_seconds: Seconds | None = None
    measured_peak_bytes: Count | None = None
    measured_seconds: Seconds | None = None

    @property
    def doubt(self) -> str:
        """Advice if the predicted time was far off; otherwise empty."""
        planned, took = self.predicted_seconds, self.measured_seconds
        if not planned or not took or max(planned, took) < _LEAST_SECONDS:
            return ""
        if 1 / _CREDIBLE <= planned / took <= _CREDIBLE:
            return ""
        return (
            f"the plan predicts {format_duration(planned)} for the whole training, but at the "
            f"measured speed it takes {format_duration(took)}; calibrate the plan to this machine "
            "with 'luthier plan calibrate' while nothing else runs"
        )


class PlanCheck(Record):
    """A plan and the measurement, side by side."""

    run: str
    predicted_peak_bytes: Count
    measured_peak_bytes: Count
    predicted_seconds: Seconds | None = None
    measured_seconds: Seconds | None = None

    @property
    def error(self) -> float:
        """Relative error of the predicted memory: predicted / measured - 1."""
        return self.predicted_peak_bytes / self.measured_peak_bytes - 1

    @property
    def seconds_error(self) -> float | None:
        """Relative error of the predicted time: predicted / measured - 1."""
        if self.predicted_seconds is None or not self.measured_seconds:
            return None
        return self.predicted_seconds / self.measured_seconds - 1


class PromptingDryRun(Record):
    """The predicted cost of a rung that only prompts the base model.

    Attributes:
        rung: its name.
        shots: the number of few-shot examples.
        evaluate_seconds: of answering the test examples; None if unknown.
    """

    rung: str
    shots: Count
    evaluate_seconds: Seconds | None = None


class MethodDryRun(Record):
    """The predicted cost of a tuning method; None where the planner does not know the model."""

    method: str
    trained_parameters: Count | None = None
    steps: Count | None = None
    memory_bytes: Count | None = None
    memory_high_bytes: Count | None = None
    """The upper end of the memory estimate."""
    seconds: Seconds | None = None
    evaluate_seconds: Seconds | None = None
    """Seconds of answering the test examples; None if unknown, or if they are not answered."""
    seconds_are_guessed: bool = False
    """Whether the speed of this machine is uncalibrated."""
    usable_bytes: int
    notes: tuple[str, ...] = ()
    """Modules that the method leaves unchanged although a user may expect otherwise."""

    @property
    def verdict(self) -> Verdict | None:
        """Whether the expected memory and its upper end fit."""
        if self.memory_bytes is None:
            return None
        high = self.memory_high_bytes or self.memory_bytes
        return verdict_of(self.memory_bytes, high, self.usable_bytes)

    @property
    def fits(self) -> bool | None:
        """Whether the expected memory fits."""
        return None if self.verdict is None else self.verdict != "does not fit"


class DryRun(Record):
    """The findings of a dry run, which checks everything and trains nothing."""

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
    """The steps of each training, if set in place of epochs."""
    prompting: tuple[PromptingDryRun, ...] = ()
    methods: tuple[MethodDryRun, ...]
    power: tuple[str, ...] = ()
    """The statistical power of the test examples."""

    @property
    def seconds(self) -> float | None:
        """Seconds of all trainings and evaluations together; None if a part is unknown."""
        parts = [rung.evaluate_seconds for rung in self.prompting]
        for method in self.methods:
            parts += [method.seconds, method.evaluate_seconds]
        known = [part for part in parts if part is not None]
        return sum(known) if parts and len(known) == len(parts) else None
