"""Calibrate this machine, and check plans against traces and runs: `luthier plan`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.core.console import Console
from luthier.records.dry_run import PlanCheck
from luthier.records.run_directory import RunDirectory

if TYPE_CHECKING:
    from luthier.planning.hardware import Calibration
    from luthier.planning.plan_request import PlanRequest


def calibrate(console: Console | None = None) -> Calibration:
    """Measure this machine in less than half a minute, and store the result for later plans."""
    from luthier.preflight.calibrate import calibrate as measure

    return measure(console or Console())


def trace_plan(question: PlanRequest) -> PlanCheck:
    """The plan of a step on one CPU and its trace: the real code on fake tensors.

    Both count tensors only, with two micro-batches, as in the steady state of a training.

    Raises:
        UsageError: a method, precision or layout that the training loop does not support yet.
        DataError: the model has no known configuration.
    """
    from luthier.preflight.trace_check import trace_question

    return trace_question(question)


def check_plans(runs: Sequence[str | Path]) -> tuple[PlanCheck, ...]:
    """Predicted and measured values of each run and its rungs.

    Raises:
        DataError: not a run directory, or no run has a measured plan.
    """
    from luthier.preflight.memory_check import measured_plans

    return measured_plans([RunDirectory.open(Path(run)) for run in runs])
