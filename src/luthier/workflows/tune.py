"""Tuning as a stage: planned, run once, and loaded if already finished."""

from __future__ import annotations

from dataclasses import replace

import torch

from luthier.checkpoint import newest_state
from luthier.context.base_model import BaseModel
from luthier.context.fingerprints import training_fingerprint
from luthier.context.run_context import RunContext
from luthier.context.training_data import training_data
from luthier.core.console import Console
from luthier.core.errors import ResourceError
from luthier.core.method_facts import MethodName
from luthier.core.units import counted, format_bytes, format_count, format_duration
from luthier.data.problems import count_reasons
from luthier.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from luthier.methods import load_adapted
from luthier.methods.lora_adapter import described
from luthier.methods.weightless import counted_parameters
from luthier.models.allocator import bound_kept_memory
from luthier.models.load import LoadedModel
from luthier.planning.hardware import GUESSED
from luthier.preflight.job_plan import JobPlan
from luthier.preflight.memory_check import SMALLER, check_memory, memory_limit
from luthier.records.dry_run import MeasuredPlan
from luthier.records.run_directory import RunDirectory
from luthier.records.training import TrainingRecord
from luthier.training import Limits, tune
from luthier.training.job import USUAL_TOKENS, allowed_method
from luthier.training.trackers import require_trackers
from luthier.workflows.model_card import has_card, write_card


def tuned_model(
    context: RunContext,
    method: MethodName,
    base: BaseModel,
    run: RunDirectory,
    max_time: float | None,
    console: Console,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> tuple[LoadedModel, TrainingRecord]:
    """The model tuned with ``method``: loaded if finished in the run directory, otherwise trained.

    A training stopped by the time limit counts as finished until it gets more time.

    Args:
        context: data, prompts, model and settings.
        method: the tuning method.
        base: the base model, which is consumed.
        run: the run directory of the tuned model.
        max_time: time limit of the training in seconds, or None.
        console: shows progress.
        processes: the process group of the training; its first process writes.

    Raises:
        ResourceError: memory does not suffice.
        DivergedError, PreemptedError, UsageError: as in `luthier.training.train`.
    """
    record = finished_training(context, method, run)
    if record and not may_go_on(record, max_time):
        console.say("  already tuned; not repeated")
        if processes.is_first and not has_card(run):  # missing if the disk was full
            write_card(run, context.weights())
        return load_adapted(run.model, context.config.base_of(method), console), record
    require_trackers(context.config.train.trackers)
    allowed_method(method, context.config, context.weights())
    if (adapter := context.weights().adapter) is not None:
        console.say(f"  continues with the adapter {adapter.path}: {described(adapter)}")
    data = training_data(context, method)
    for reason in count_reasons(data.dropped):
        console.warn(f"{reason.count} training examples left out: {reason.reason}")
    for caveat in data.caveats:
        console.warn(caveat)
    loop = context.config.train.model_copy(update={"max_time": max_time})
    config = context.config.model_copy(update={"train": loop})
    plan = check_memory(replace(context, config=config), method, data, processes)
    stored = _announce(plan, run, console) if plan and processes.is_first else None
    if plan is None:
        counted = counted_parameters(context.weights(), method, context.config.methods)
        trained = "" if counted is None else f"; {format_count(counted)} trained"
        console.say(f"  no plan: the planner does not know this architecture{trained}")
    try:
        # A sharded base need not fit on one device.
        place = torch.device("cpu") if loop.shards(processes.size) else None
        untuned = base.take(context.config.base_of(method), place)
        if plan:
            bound_kept_memory(plan.memory.allocated - plan.memory.weights)
        limits = _limits(context, plan, processes)
        loaded, record = tune(
            untuned, method, config, data, run, console, processes=processes, limits=limits
        )
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ResourceError(f"memory ran out while tuning with {method}", fix=SMALLER) from error
    if processes.is_first:
        write_card(run, context.weights())
    if stored:
        measured = {
            "measured_peak_bytes": record.peak_memory_bytes,
            "measured_seconds": record.seconds * record.planned_steps / record.steps,
        }
        stored = stored.model_copy(update=measured)
        stored.write(run.plan)
        if stored.doubt:
            console.warn(stored.doubt)
    return loaded, record


def _limits(context: RunContext, plan: JobPlan | None, processes: ProcessGroup) -> Limits:
    """The memory limits, with candidate sizes of forward passes if they are automatic."""
    speed = plan.peak_tokens_per_second if plan else None
    compiled = plan.compiled if plan else False
    if context.config.train.micro_batch_tokens != "auto":
        return Limits(tokens_per_second=speed, compiling_pays=compiled)
    tokens = plan.micro_batch_tokens if plan else USUAL_TOKENS
    return Limits(memory_limit(context, processes), tokens, speed, compiled)


def finished_training(
    context: RunContext, method: MethodName, run: RunDirectory
) -> TrainingRecord | None:
    """The stored record of a training with the same inputs, if there is one."""
    if not run.training.is_file():
        return None
    record = TrainingRecord.read(run.training)
    return record if record.fingerprint == training_fingerprint(context, method) else None


def _announce(plan: JobPlan, run: RunDirectory, console: Console) -> MeasuredPlan:
    """Print the plan, and store it for comparison with measurements."""
    memory = plan.memory
    time = "" if plan.seconds is None else f", about {format_duration(plan.seconds)}"
    time += f" ({GUESSED})" if plan.seconds_are_guessed else ""
    console.say(
        f"  plan: {format_count(plan.trained_parameters)} trained, {counted(plan.steps, 'step')}, "
        f"{format_bytes(memory.total)} of memory{time}"
    )
    stored = MeasuredPlan(
        predicted_bytes=memory.parts()
        | {"allocator": memory.allocator.expected, "framework": memory.framework.expected},
        predicted_peak_bytes=memory.total,
        predicted_seconds=plan.seconds,
    )
    stored.write(run.plan)
    return stored


def may_go_on(record: TrainingRecord, max_time: float | None) -> bool:
    """Whether a training that ran out of time now has more of it."""
    return record.stopped == "time" and (max_time is None or max_time > record.seconds)


def seconds_trained(run: RunDirectory) -> float:
    """The training time up to the newest checkpoint, in seconds."""
    state = newest_state(run.checkpoints)
    if state is None:
        return TrainingRecord.read(run.training).seconds if run.training.is_file() else 0.0
    found = state.get("seconds")
    return found if isinstance(found, float) else 0.0
