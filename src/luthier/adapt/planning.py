"""What a tuning will take, from the model's configuration and the batches it will really see."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil

import psutil
import torch

from luthier.adapt.passes import (
    ForwardPass,
    evenly,
    largest,
    training_passes,
    validation_passes,
)
from luthier.adapt.setup import Setup
from luthier.config import TrainConfig
from luthier.config.methods import LastLayersConfig, MethodName
from luthier.core.errors import DataError, ResourceError
from luthier.core.files import read_json
from luthier.core.heap import pool_in_use
from luthier.core.records import MeasuredPlan, PlanCheck
from luthier.core.run_directory import RunDirectory
from luthier.core.units import format_bytes
from luthier.data.batches import BatchOrder
from luthier.distributed.ranks import ALONE, Ranks
from luthier.methods.frozen_prefix import LIMIT
from luthier.models.device import default_device, free_memory, resolve_dtype
from luthier.plan import Architecture, MemoryPlan, TrainingSetup, plan_training, read_architecture
from luthier.plan.from_config import tuning_of
from luthier.plan.hardware import Cluster, Device, device_of_product, this_cpu
from luthier.plan.memory import pass_cost
from luthier.plan.overhead import CUDA, GLIBC_CPU, POOLED_CPU, Overhead
from luthier.plan.setup import OPTIMIZERS, Parallel, precision_in_memory
from luthier.plan.step import StepCost
from luthier.plan.time import forward_time, step_time
from luthier.train import TrainingData
from luthier.train.loss import padded_length
from luthier.train.optimizer import require_optimizer

# Steps whose batches are looked at, how many of the largest forward passes are planned, and how
# many others are timed.
_STEPS_SEEN = 2000
_LARGEST = 6
_TIMED = 24
# The share of the memory that a micro-batch may fill by plan: plans err by some per cent.
_FILLED = 0.9

SMALLER = (
    "try a smaller train.micro_batch_tokens or data.max_length, "
    "or train.activation_checkpointing=full"
)


@dataclass(frozen=True, slots=True)
class TuningPlan:
    """What tuning with one method will take.

    Attributes:
        memory: at the peak.
        trained_parameters: numbers that are trained.
        steps: optimizer steps.
        seconds: of all of them, validations included; None where the device's speed is not known.
        micro_batch_tokens: of a forward pass, as configured or as many as fit.
        peak_tokens_per_second: over all processes, if their devices did nothing but the model's
            products, at their peak; None where that is not known.
    """

    memory: MemoryPlan
    trained_parameters: int
    steps: int
    seconds: float | None
    micro_batch_tokens: int
    peak_tokens_per_second: float | None


def plan_tuning(
    setup: Setup, method: MethodName, data: TrainingData, ranks: Ranks = ALONE
) -> TuningPlan | None:
    """The plan of tuning with ``method``; None for a model that the planner does not know.

    Of several processes it is the memory of each. Where forward passes may have as many tokens as
    fit, it is the plan with as many as a step has that fits, or else with the fewest.
    """
    architecture = architecture_of(setup)
    if architecture is None:
        return None
    tokens = setup.config.train.micro_batch_tokens
    if tokens != "auto":
        return _plan(setup, method, data, ranks, architecture, tokens)
    limit = memory_limit(setup, ranks) * _FILLED
    sizes = _possible_tokens(setup, data)
    plans = (_plan(setup, method, data, ranks, architecture, size) for size in sizes)
    plan = next(plans)
    while plan.memory.total > limit and (smaller := next(plans, None)):
        plan = smaller
    return plan


def _possible_tokens(setup: Setup, data: TrainingData) -> list[int]:
    """Tokens that a forward pass may have: all of a step, half of them, down to one example."""
    lengths = sorted((padded_length(example) for example in data.train), reverse=True)
    longest, sizes = lengths[0], [lengths[0] * len(lengths[: setup.config.train.batch_size])]
    while sizes[-1] > longest:
        sizes.append(max(longest, sizes[-1] // 2))
    return sizes


def _plan(
    setup: Setup,
    method: MethodName,
    data: TrainingData,
    ranks: Ranks,
    architecture: Architecture,
    tokens: int,
) -> TuningPlan:
    """The plan with forward passes of so many tokens.

    The order of the batches is a function of the seed, so the largest forward pass that will occur
    is known, not guessed.
    """
    config, settings = setup.config, setup.config.methods.of(method)
    order = BatchOrder(len(data.train), config.train.batch_size, config.seed)
    steps = order.total_steps(settings.epochs or config.train.epochs)
    seen = min(steps, _STEPS_SEEN)
    passes = training_passes(config.train, data.train, order, seen, tokens)
    setups = [
        _training_setup(setup, method, architecture, batch, ranks)
        for batch in largest(passes, _LARGEST)
    ]
    plans = [plan_training(architecture, one, _overhead()) for one in setups]
    memory = max(plans, key=lambda plan: plan.total)
    kept = _kept_states(setup, method, data, architecture)
    if default_device().type == "cpu":
        memory = replace(memory, cache=memory.cache + kept)
    else:
        memory = replace(memory, host=memory.host + kept)
    return TuningPlan(
        memory=memory,
        trained_parameters=pass_cost(architecture, setups[0]).trained_count,
        steps=steps,
        # Processes on a CPU share its cores, in a way that is not planned.
        seconds=None
        if ranks.size > 1
        else _seconds(setup, method, data, architecture, passes, steps / seen, tokens),
        micro_batch_tokens=tokens,
        peak_tokens_per_second=_peak_tokens_per_second(setup, method, architecture, passes, ranks),
    )


def _kept_states(
    setup: Setup, method: MethodName, data: TrainingData, architecture: Architecture
) -> int:
    """Bytes on the host of what frozen layers gave, kept for later epochs.

    They are ``T × D`` numbers for each example. What several processes keep is counted as if each
    met all examples.
    """
    settings = setup.config.methods.of(method)
    epochs = settings.epochs or setup.config.train.epochs
    if not isinstance(settings, LastLayersConfig) or not settings.cache or epochs <= 1:
        return 0
    if architecture.is_encoder_decoder or settings.layers >= architecture.layers:
        return 0
    numbers = architecture.hidden * sum(len(example.input_ids) for example in data.train)
    return min(LIMIT, numbers * resolve_dtype(setup.config.model.dtype, default_device()).itemsize)


def _seconds(
    setup: Setup,
    method: MethodName,
    data: TrainingData,
    architecture: Architecture,
    passes: Sequence[ForwardPass],
    times: float,
    tokens: int,
) -> float | None:
    """Seconds of ``times`` the passes, and of the validations between them."""
    device = _device_in_use()
    if device is None:
        return None
    cluster, train = Cluster(device), setup.config.train

    def mean(some: Sequence[ForwardPass], seconds: Callable[..., float]) -> float:
        timed = evenly(some, _TIMED)
        setups = [_training_setup(setup, method, architecture, one) for one in timed]
        return statistics.mean(
            seconds(one, cluster, pass_cost(architecture, one)) for one in setups
        )

    def trained(one: TrainingSetup, on: Cluster, cost: StepCost) -> float:
        """A pass's share of its step: the update is shared by all of them."""
        return step_time(one, on, cost).seconds / one.accumulation

    seconds = mean(passes, trained) * len(passes) * times
    if data.validation:
        validation = validation_passes(data.validation, tokens)
        seconds += mean(validation, forward_time) * len(validation) * train.validations
    return seconds


def _peak_tokens_per_second(
    setup: Setup,
    method: MethodName,
    architecture: Architecture,
    passes: Sequence[ForwardPass],
    ranks: Ranks,
) -> float | None:
    """What the tokens a second are divided by to give the model FLOPs utilisation.

    Chowdhery et al. 2022 (PaLM, arXiv 2204.02311), appendix B: the FLOPs of a token are those that
    the model needs, forward and backward. What is computed again is not counted; nor is padding,
    since the loop does not count its tokens.
    """
    device = _device_in_use()
    # What is guessed of a CPU that was not measured is no peak.
    if device is None or (device.is_cpu and not device.measured):
        return None
    counted = evenly(passes, _TIMED)
    setups = [_training_setup(setup, method, architecture, one) for one in counted]
    costs = [pass_cost(architecture, one) for one in setups]
    flops = sum(cost.forward_flops + cost.backward_flops for cost in costs)
    peak = device.flops.get(setups[0].precision.dtype)
    if peak is None:
        return None
    devices = 1 if device.is_cpu else ranks.size  # processes share the cores of a CPU
    return devices * peak * sum(one.tokens for one in counted) / flops


def _overhead() -> Overhead:
    """Of this process: it may have been started without the command line."""
    if default_device().type == "cuda":
        return CUDA
    return POOLED_CPU if pool_in_use() else GLIBC_CPU


def _device_in_use() -> Device | None:
    """What the planner knows of the device that will be used."""
    if default_device().type == "cpu":
        return this_cpu()
    return device_of_product(torch.cuda.get_device_name())


def check_memory(
    setup: Setup, method: MethodName, data: TrainingData, ranks: Ranks = ALONE
) -> TuningPlan | None:
    """The plan, if it may be used.

    Raises:
        ResourceError: it needs more than ``adapt.memory``, or than what is free.
        UsageError: the optimizer does not work here.
    """
    require_optimizer(setup.config.train, default_device(), ranks)
    plan = plan_tuning(setup, method, data, ranks)
    limit = memory_limit(setup, ranks)
    if plan and plan.memory.total > limit:
        raise ResourceError(
            f"{method} needs about {format_bytes(plan.memory.total)}, "
            f"and {format_bytes(limit)} may be used",
            fix=SMALLER,
        )
    return plan


def architecture_of(setup: Setup) -> Architecture | None:
    """The structure of the setup's model, or None where the planner does not know its kind."""
    path = setup.handle.folder.path / "config.json"
    try:
        return read_architecture(read_json(path), str(path))
    except DataError:
        return None


def measured_plans(runs: Sequence[RunDirectory]) -> tuple[PlanCheck, ...]:
    """What was predicted and measured in runs and in their rungs.

    Raises:
        DataError: none of them has a plan that was measured.
    """
    checks = tuple(check for run in runs for check in _measured(run))
    if not checks:
        raise DataError(
            "none of these runs has a plan that was measured",
            where=", ".join(str(run.path) for run in runs),
            fix="name runs of tune or adapt that have trained",
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


def memory_limit(setup: Setup, ranks: Ranks = ALONE) -> int:
    """Bytes this process may come to use: ``adapt.memory``, or what it has and what is free.

    Processes on a CPU share what is free.
    """
    if setup.config.adapt.memory:
        return setup.config.adapt.memory
    device = default_device()
    if device.type != "cpu":
        return free_memory(device)
    held: int = psutil.Process().memory_info().rss
    return held + free_memory(device) // ranks.size


def _training_setup(
    setup: Setup,
    method: MethodName,
    architecture: Architecture,
    batch: ForwardPass,
    ranks: Ranks = ALONE,
) -> TrainingSetup:
    config, device = setup.config, default_device()
    lengths = [len(example.input_ids) for example in batch.examples]
    return TrainingSetup(
        tuning=tuning_of(config.methods.of(method), architecture),
        precision=precision_in_memory(
            config.base_of(method).quantisation,
            short=resolve_dtype(config.model.dtype, device).itemsize == 2,
            master_weights=config.train.master_weights,
        ),
        optimizer=OPTIMIZERS[config.train.optimizer],
        checkpointing=config.train.activation_checkpointing,
        batch=len(lengths),
        length=max(lengths),
        target_length=max(len(example.decoder_ids) for example in batch.examples),
        predicted=batch.predicted,
        parallel=_parallel(config.train, ranks),
        accumulation=ceil(batch.in_step / ranks.size),
        padded=min(lengths) < max(lengths),
        on_cpu=device.type == "cpu",
        fused_loss=True,
    )


def _parallel(train: TrainConfig, ranks: Ranks) -> Parallel:
    if ranks.size == 1:
        return Parallel()
    if train.parallelism == "fsdp" and train.shard_group:
        return Parallel("hybrid", ranks.size, train.shard_group)
    return Parallel(train.parallelism, ranks.size)
