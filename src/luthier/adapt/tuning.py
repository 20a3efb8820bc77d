"""Tuning as a stage: planned, done once, and loaded when it is already there."""

from __future__ import annotations

import psutil
import torch

from luthier.adapt.base_model import BaseModel
from luthier.adapt.setup import Setup
from luthier.config.methods import MethodName
from luthier.core.console import Console
from luthier.core.errors import ResourceError
from luthier.core.records import MeasuredPlan, TrainingRecord
from luthier.core.run_directory import RunDirectory
from luthier.core.units import format_bytes
from luthier.data.batches import micro_batches
from luthier.data.problems import count_reasons
from luthier.methods import load_adapted
from luthier.models.device import default_device, free_memory, resolve_dtype
from luthier.models.load import LoadedModel
from luthier.plan import MemoryPlan, plan_training, read_shape
from luthier.train import TrainingData, tune
from luthier.train.loss import padded_length, trained_tokens


def tuned_model(
    setup: Setup,
    method: MethodName,
    base: BaseModel,
    run: RunDirectory,
    max_time: float | None,
    console: Console,
) -> tuple[LoadedModel, TrainingRecord]:
    """The model tuned with ``method``: from the run directory if it is finished there, else tuned.

    A training that was stopped by the time limit is finished until it is given more time.

    Args:
        setup: data, prompts, model and settings.
        method: which method.
        base: the base model; it is taken.
        run: where the tuned model is, or will be.
        max_time: seconds that training may take, or None.
        console: shows progress.

    Raises:
        ResourceError: it does not fit into memory.
        DivergedError, PreemptedError, UsageError: as `luthier.train.train`.
    """
    if run.training.is_file():
        record = TrainingRecord.read(run.training)
        same = record.fingerprint == setup.training_fingerprint(method)
        if same and not _may_go_on(record, max_time):
            console.say("  tuned before; not repeated")
            return load_adapted(run.model, setup.config.model, console), record
    data = setup.training_data(method)
    for reason in count_reasons(data.dropped):
        console.warn(f"{reason.count} training examples left out: {reason.reason}")
    plan = check_memory(setup, method, data)
    predicted = plan.model_dump()
    stored = MeasuredPlan(predicted_bytes=predicted, predicted_peak_bytes=plan.total)
    stored.write(run.plan)
    loop = setup.config.train.model_copy(update={"max_time": max_time})
    config = setup.config.model_copy(update={"train": loop})
    try:
        loaded, record = tune(base.take(), method, config, data, run, console)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ResourceError(f"memory ran out while tuning with {method}", fix=_SMALLER) from error
    measured = {"measured_peak_bytes": record.peak_memory_bytes}
    stored.model_copy(update=measured).write(run.plan)
    return loaded, record


def _may_go_on(record: TrainingRecord, max_time: float | None) -> bool:
    """Whether a training that ran out of time is given more of it now."""
    return record.stopped == "time" and (max_time is None or max_time > record.seconds)


_SMALLER = (
    "try a smaller train.micro_batch_tokens or data.max_length, "
    "or train.activation_checkpointing=true"
)


def check_memory(setup: Setup, method: MethodName, data: TrainingData) -> MemoryPlan:
    """The predicted peak, if it may be used.

    Raises:
        ResourceError: it is more than ``adapt.memory``, or than what is free.
    """
    plan = training_plan(setup, method, data)
    limit = setup.config.adapt.memory or usable_memory()
    if plan.total > limit:
        raise ResourceError(
            f"{method} needs about {format_bytes(plan.total)}, "
            f"and {format_bytes(limit)} may be used",
            fix=_SMALLER,
        )
    return plan


def training_plan(setup: Setup, method: MethodName, data: TrainingData) -> MemoryPlan:
    """The predicted peak memory of tuning, from the model's files and the longest batch."""
    config = setup.config
    lengths = [padded_length(example) for example in data.train]
    cuts = micro_batches(lengths, tokens=config.train.micro_batch_tokens, max_padding=1.0)
    widest = max(cuts, key=lambda cut: len(cut) * lengths[cut[0]])
    # A step holds no more examples than its batch, however short they are.
    rows = min(len(widest), config.train.batch_size)
    answers = sorted((trained_tokens(example) for example in data.train), reverse=True)
    virtual = getattr(config.methods.of(method), "virtual_tokens", 0)
    return plan_training(
        read_shape(setup.handle.folder.path),
        config.methods.of(method),
        weight_bytes=resolve_dtype(config.model.dtype, default_device()).itemsize,
        micro_batch_tokens=rows * (lengths[widest[0]] + virtual),
        trained_tokens=sum(answers[:rows]),
        checkpointing=config.train.activation_checkpointing,
    )


def usable_memory() -> int:
    """Bytes this process may come to use: what it has, and what is free."""
    device = default_device()
    held = psutil.Process().memory_info().rss if device.type == "cpu" else 0
    return held + free_memory(device)
