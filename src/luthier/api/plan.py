"""Measure this machine, and hold plans against traces and runs: `luthier plan`."""

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
    """Measure this machine, in less than half a minute, and keep the result for later plans."""
    from luthier.preflight.calibrate import calibrate as measure

    return measure(console or Console())


def trace_plan(question: PlanRequest) -> PlanCheck:
    """The plan of a step on one CPU, and its trace: the real code on tensors without data.

    Both count the tensors alone, with two micro-batches, as in the steady state of a training.

    Raises:
        UsageError: a method, precision or layout that this project's loop does not have yet.
        DataError: no configuration of this model is known.
    """
    from luthier.preflight.trace_check import trace_question

    return trace_question(question)


def check_plans(runs: Sequence[str | Path]) -> tuple[PlanCheck, ...]:
    """What was predicted and measured in each of ``runs``, and in their rungs.

    Raises:
        DataError: no run directory, or no plan with a measurement in any of them.
    """
    from luthier.preflight.memory_check import measured_plans

    return measured_plans([RunDirectory.open(Path(run)) for run in runs])
