"""Comparison of a training's plan with available memory, and with measurements."""

from __future__ import annotations

from collections.abc import Sequence

import psutil

from luthier.context.run_context import RunContext
from luthier.core.errors import DataError, ResourceError
from luthier.core.method_facts import MethodName
from luthier.core.units import format_bytes
from luthier.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from luthier.models.device import default_device, free_memory
from luthier.preflight.job_plan import JobPlan, plan_job
from luthier.records.dry_run import MeasuredPlan, PlanCheck
from luthier.records.run_directory import RunDirectory
from luthier.training import TrainingData
from luthier.training.optimizer import require_optimizer

# The share of memory that a micro-batch may fill, because plans are off by a few per cent.
_FILLED = 0.9

SMALLER = (
    "try a smaller train.micro_batch_tokens or data.max_length, "
    "or train.activation_checkpointing=full"
)


def plan_within_memory(
    context: RunContext,
    method: MethodName,
    data: TrainingData,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> JobPlan | None:
    """The plan for the available memory, whether it fits or not; see `plan_job`."""
    limit = _FILLED * memory_limit(context, processes)
    return plan_job(context, method, data, limit, processes)


def check_memory(
    context: RunContext,
    method: MethodName,
    data: TrainingData,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> JobPlan | None:
    """The plan, if it fits.

    Raises:
        ResourceError: it needs more than ``adapt.memory``, or more than is free.
        UsageError: the optimizer does not work here.
    """
    require_optimizer(context.config.train, default_device(), processes)
    plan = plan_within_memory(context, method, data, processes)
    limit = memory_limit(context, processes)
    if plan and plan.memory.total > limit:
        raise ResourceError(
            f"{method} needs about {format_bytes(plan.memory.total)}; "
            f"{format_bytes(limit)} available",
            fix=SMALLER,
        )
    return plan


def memory_limit(context: RunContext, processes: ProcessGroup = SINGLE_PROCESS) -> int:
    """Bytes available to this process: ``adapt.memory``, or its own memory plus free memory.

    Processes on a CPU share free memory.
    """
    if context.config.adapt.memory:
        return context.config.adapt.memory
    device = default_device()
    if device.type != "cpu":
        return free_memory(device)
    held: int = psutil.Process().memory_info().rss
    return held + free_memory(device) // processes.size


def measured_plans(runs: Sequence[RunDirectory]) -> tuple[PlanCheck, ...]:
    """Predicted and measured values of runs and their rungs.

    Raises:
        DataError: no run has a measured plan.
    """
    checks = tuple(check for run in runs for check in _measured(run))
    if not checks:
        raise DataError(
            "none of these runs has a measured plan",
            where=", ".join(str(run.path) for run in runs),
            fix="name tune or adapt runs with a finished training",
        )
    return checks


def _measured(run: RunDirectory) -> list[PlanCheck]:
    plans = [(path, MeasuredPlan.read(path)) for path in sorted(run.path.rglob("plan.json"))]
    return [
        PlanCheck(
            run=str(path.parent),
            predicted_peak_bytes=plan.predicted_peak_bytes,
            measured_peak_bytes=plan.measured_peak_bytes,
            predicted_seconds=plan.predicted_seconds,
            measured_seconds=plan.measured_seconds,
        )
        for path, plan in plans
        if plan.measured_peak_bytes
    ]
