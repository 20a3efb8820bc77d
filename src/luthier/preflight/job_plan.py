"""The plan of a training, from the model's configuration and its actual batches."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil

import torch

from luthier.config.methods import MethodConfig
from luthier.context.run_context import RunContext
from luthier.core.errors import DataError
from luthier.core.memory_pool import pool_in_use
from luthier.core.method_facts import FACTS, MethodName
from luthier.data.batches import ExampleOrder
from luthier.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from luthier.methods import method_for
from luthier.methods.frozen_prefix import LIMIT
from luthier.methods.weightless import outlined
from luthier.models.device import default_device, resolve_dtype
from luthier.models.kinds import is_wrapper
from luthier.planning import (
    Architecture,
    MemoryPlan,
    TrainingSetup,
    plan_training,
    read_architecture,
)
from luthier.planning.from_config import tuning_of
from luthier.planning.hardware import Cluster, Device, device_of_product, this_cpu
from luthier.planning.memory import pass_cost
from luthier.planning.overhead import CUDA, GLIBC_CPU, POOLED_CPU, Overhead, with_compiler
from luthier.planning.step import StepCost
from luthier.planning.time import compiling_pays, forward_time, step_time
from luthier.planning.training_setup import OPTIMIZERS, Parallel, precision_in_memory
from luthier.preflight.micro_batches import (
    ForwardPass,
    evenly,
    largest,
    training_passes,
    validation_passes,
)
from luthier.training import TrainingData
from luthier.training.compiling import has_compiler
from luthier.training.job import can_be_packed
from luthier.training.layout import Packed, Padded
from luthier.training.packing import lengths_by_step, plans_packing
from luthier.training.schedule import total_steps, validation_steps

# Number of steps whose batches are examined, of the largest forward passes that are planned, and of
# others that are timed.
_STEPS_SEEN = 2000
_LARGEST = 6
_TIMED = 24
_FLOAT = 4


@dataclass(frozen=True, slots=True)
class JobPlan:
    """The planned requirements of tuning with one method.

    Attributes:
        memory: at the peak.
        trained_parameters: number of trained parameters.
        steps: number of optimizer steps.
        seconds: total time including validations; None if the device's speed is unknown.
        seconds_are_guessed: whether the device is an uncalibrated CPU.
        micro_batch_tokens: tokens per forward pass, as configured or as many as fit.
        peak_tokens_per_second: over all processes, if the devices ran only the model's products at
            their peak; None if unknown.
        compiled: whether the layers are compiled, as configured or because it is expected to pay.
    """

    memory: MemoryPlan
    trained_parameters: int
    steps: int
    seconds: float | None
    seconds_are_guessed: bool
    micro_batch_tokens: int
    peak_tokens_per_second: float | None
    compiled: bool


def plan_job(
    context: RunContext,
    method: MethodName,
    data: TrainingData,
    limit: float,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> JobPlan | None:
    """The plan of tuning with ``method``; None for a model unknown to the planner.

    With several processes, memory is per process.

    Args:
        context: data, prompts, model and settings.
        method: the tuning method.
        data: the examples.
        limit: bytes that a process may use. If tokens per forward pass are automatic, the plan uses
            the most of a step that fit, or else the fewest.
        processes: the process group of the training.
    """
    outline = outlined(context.weights(), method, context.config.methods)
    # For other methods the planner counts parameters as stored in the files, tied or not.
    counted = outline.trained if FACTS[method].on_modules or outline.notes else None
    architecture = architecture_of(context)
    if architecture is None:
        return None
    planner = _Planner(context, method, data, architecture, processes, counted)
    tokens = context.config.train.micro_batch_tokens
    return planner.fitting(limit) if tokens == "auto" else planner.plan(tokens)


def architecture_of(context: RunContext) -> Architecture | None:
    """The architecture of the context's model; None if its type is unknown to the planner."""
    handle = context.weights()
    try:
        return read_architecture(handle.description, str(handle.folder.path / "config.json"))
    except DataError:
        return None


@dataclass(frozen=True, slots=True)
class _Planner:
    """Plans one training for different sizes of forward passes."""

    context: RunContext
    method: MethodName
    data: TrainingData
    architecture: Architecture
    processes: ProcessGroup
    counted: int | None

    def fitting(self, limit: float) -> JobPlan:
        """The plan with the largest forward passes that fit, or else with the smallest."""
        plans = (self.plan(tokens) for tokens in self._sizes())
        plan = next(plans)
        while plan.memory.total > limit and (smaller := next(plans, None)):
            plan = smaller
        return plan

    def plan(self, tokens: int) -> JobPlan:
        """The plan with forward passes of ``tokens`` tokens.

        The order of batches follows from the seed, so the largest forward pass is known, not
        guessed.
        """
        train, data = self.context.config.train, self.data
        order = data.order(self.context.config)
        steps = total_steps(order, train, self._settings)
        seen = min(steps, _STEPS_SEEN)
        layout = Packed() if self._packs(order, tokens) else Padded(train.max_padding)
        passes = training_passes(data.objective, layout, data.examples, order, seen, tokens)
        seconds = self._seconds(passes, steps, steps / seen, tokens)
        compiled = self._compiles(passes, steps / seen * self._share_in_time(seconds))
        setups = [
            replace(self._training_setup(one), compiled=compiled)
            for one in largest(passes, _LARGEST)
        ]
        plans = [plan_training(self.architecture, one, _overhead(compiled)) for one in setups]
        memory = self._with_kept_states(max(plans, key=lambda plan: plan.total))
        planned = pass_cost(self.architecture, setups[0]).trained_count
        return JobPlan(
            memory=self._with_other_parts(self._with_counted(memory, planned)),
            trained_parameters=planned if self.counted is None else self.counted,
            steps=steps,
            seconds=seconds,
            seconds_are_guessed=self._cluster is not None and self._cluster.device.is_guessed,
            micro_batch_tokens=tokens,
            peak_tokens_per_second=self._peak_tokens_per_second(passes),
            compiled=compiled,
        )

    @property
    def _settings(self) -> MethodConfig:
        return self.context.config.methods.of(self.method)

    def _packs(self, order: ExampleOrder, tokens: int) -> bool:
        """Whether the loop will pack its micro-batches, if the model allows it."""
        method = method_for(self.method, self.context.config.methods)
        return can_be_packed(method, self.context.weights()) and plans_packing(
            self.context.config.train,
            lengths_by_step(self.data.objective, self.data.examples, order),
            on_cpu=default_device().type == "cpu",
            tokens=tokens,
            width=self.architecture.hidden,
        )

    def _sizes(self) -> list[int]:
        """Possible tokens per forward pass: all of a step, half of them, down to one example."""
        lengths = sorted(map(self.data.objective.length, self.data.examples), reverse=True)
        in_step = len(lengths[: self.data.order(self.context.config).batch_size])
        longest, sizes = lengths[0], [lengths[0] * in_step]
        while sizes[-1] > longest:
            sizes.append(max(longest, sizes[-1] // 2))
        return sizes

    def _with_kept_states(self, memory: MemoryPlan) -> MemoryPlan:
        """The memory including cached outputs of frozen layers, kept on the host for later epochs.

        They are ``T × D`` numbers per example. With several processes, each is counted as if it met
        all examples.
        """
        settings, architecture = self._settings, self.architecture
        order = self.data.order(self.context.config)
        steps = total_steps(order, self.context.config.train, settings)
        noisy = self.context.config.train.neftune_alpha is not None
        repeats = steps > order.steps_per_epoch and not noisy
        trained = settings.layers_above_cache
        if trained is None or not repeats:
            return memory
        if architecture.is_encoder_decoder or trained >= architecture.layers:
            return memory
        sequences = self.data.objective.sequences(self.data.examples)
        numbers = architecture.hidden * sum(len(one.input_ids) for one in sequences)
        dtype = resolve_dtype(self.context.config.model.dtype, default_device())
        kept = min(LIMIT, numbers * dtype.itemsize)
        if default_device().type == "cpu":
            return replace(memory, cache=memory.cache + kept)
        return replace(memory, host=memory.host + kept)

    def _with_counted(self, memory: MemoryPlan, planned: int) -> MemoryPlan:
        """The memory including trained parameters outside linear layers, such as saved embeddings.

        Each has a float32 copy, a gradient and optimizer states.
        """
        more = max(0, (self.counted or 0) - planned)
        return replace(
            memory,
            adapters=memory.adapters + more * _FLOAT,
            gradients=memory.gradients + more * _FLOAT,
            optimizer=memory.optimizer + more * memory.optimizer // max(planned, 1),
        )

    def _with_other_parts(self, memory: MemoryPlan) -> MemoryPlan:
        """The memory including the weights of a vision-language model outside its language model.

        They are frozen and replicated in each process.
        """
        handle = self.context.weights()
        if not is_wrapper(handle.settings):
            return memory
        numbers = handle.stored_numbers - self.architecture.parameters
        dtype = resolve_dtype(self.context.config.model.dtype, default_device())
        return replace(memory, weights=memory.weights + max(0, numbers) * dtype.itemsize)

    def _seconds(
        self, passes: Sequence[ForwardPass], steps: int, times: float, tokens: int
    ) -> float | None:
        """Seconds of ``times`` the passes, and of the validations in that many steps.

        For processes that share a CPU's cores, time is not planned.
        """
        cluster = self._cluster
        if cluster is None:
            return None

        def trained(one: TrainingSetup, on: Cluster, cost: StepCost) -> float:
            """A pass's share of its step, whose passes share the update."""
            return step_time(one, on, cost).seconds / one.accumulation

        seconds = self._mean(passes, trained, cluster) * len(passes) * times
        if measured := (*self.data.validation, *self.data.watched):
            validation = validation_passes(self.data.objective, measured, tokens)
            count = len(validation) * len(validation_steps(steps, self.context.config.train))
            seconds += self._mean(validation, forward_time, cluster) * count
        return seconds

    def _share_in_time(self, seconds: float | None) -> float:
        """The share of the training that the time limit leaves."""
        limit = self.context.config.train.max_time
        return min(1.0, max(0.0, limit) / seconds) if limit is not None and seconds else 1.0

    def _compiles(self, passes: Sequence[ForwardPass], times: float) -> bool:
        """Whether the layers are compiled: as configured, or if it pays in ``times`` passes.

        The savings are unknown for quantised weights and recomputed layers; with adapter dropout,
        compilation would change more than rounding.
        """
        train = self.context.config.train
        if train.compile != "auto":
            return train.compile
        cluster, quantisation = self._cluster, self.context.config.base_of(self.method).quantisation
        unknown = quantisation or train.activation_checkpointing != "none"
        drops = self.context.config.methods.of(self.method).drops
        if cluster is None or unknown or drops or not has_compiler(default_device()):
            return False

        def between(one: TrainingSetup, on: Cluster, cost: StepCost) -> float:
            return step_time(one, on, cost).traffic / one.accumulation

        seconds = self._mean(passes, between, cluster) * len(passes) * times
        return compiling_pays(seconds, on_cpu=cluster.device.is_cpu)

    @property
    def _cluster(self) -> Cluster | None:
        """The devices that times are planned for; None for processes that share a CPU's cores.

        The speed of float16 products on a CPU is unknown too.
        """
        device = device_in_use()
        if device is None or self.processes.size > 1 or self._dtype not in device.flops:
            return None
        return Cluster(device)

    @property
    def _dtype(self) -> str:
        """The dtype of the products."""
        dtype = resolve_dtype(self.context.config.model.dtype, default_device())
        return str(dtype).removeprefix("torch.")

    def _mean(
        self, passes: Sequence[ForwardPass], seconds: Callable[..., float], cluster: Cluster
    ) -> float:
        """Mean seconds of one pass."""
        setups = [self._training_setup(one) for one in evenly(passes, _TIMED)]
        return statistics.mean(
            seconds(one, cluster, pass_cost(self.architecture, one)) for one in setups
        )

    def _peak_tokens_per_second(self, passes: Sequence[ForwardPass]) -> float | None:
        """The denominator for tokens per second that gives the model FLOPs utilisation.

        Chowdhery et al. 2022 (PaLM, arXiv 2204.02311), appendix B: the model FLOPs of a token,
        forward and backward. Recomputation is not counted, nor is padding, since the loop does not
        count padding tokens.
        """
        device = device_in_use()
        # A guessed speed of an uncalibrated CPU is not a peak.
        if device is None or (device.is_cpu and not device.measured):
            return None
        counted = evenly(passes, _TIMED)
        setups = [self._training_setup(one) for one in counted]
        costs = [pass_cost(self.architecture, one) for one in setups]
        flops = sum(cost.forward_flops + cost.backward_flops for cost in costs)
        peak = device.flops.get(setups[0].precision.dtype)
        if peak is None:
            return None
        devices = 1 if device.is_cpu else self.processes.size  # processes share the cores of a CPU
        return devices * peak * sum(one.tokens for one in counted) / flops

    def _training_setup(self, batch: ForwardPass) -> TrainingSetup:
        config, device = self.context.config, default_device()
        lengths = [len(sequence.input_ids) for sequence in batch.sequences]
        rows, length = batch.layout.shape(lengths)
        return TrainingSetup(
            tuning=tuning_of(self.method, config.methods, self.architecture),
            precision=precision_in_memory(
                config.base_of(self.method).quantisation,
                dtype=self._dtype,
                master_weights=config.train.master_weights,
            ),
            optimizer=OPTIMIZERS[config.train.optimizer],
            checkpointing=config.train.activation_checkpointing,
            batch=rows,
            length=length,
            target_length=max(len(sequence.decoder_ids) for sequence in batch.sequences),
            predicted=batch.predicted,
            parallel=self._parallel,
            accumulation=ceil(batch.in_step / self.processes.size),
            padded=rows * length > sum(lengths) or rows < len(lengths),
            on_cpu=device.type == "cpu",
            fused_loss=True,
        )

    @property
    def _parallel(self) -> Parallel:
        train, size = self.context.config.train, self.processes.size
        if size == 1:
            return Parallel()
        if train.parallelism == "fsdp" and train.shard_group:
            return Parallel("hybrid", size, train.shard_group, whole_constants=True)
        keeps = train.parallelism == "zero2"
        return Parallel(train.parallelism, size, whole_constants=True, keeps_part=keeps)


def _overhead(compiled: bool) -> Overhead:
    """The overhead of this process, which may have been started without the command line."""
    if default_device().type == "cuda":
        return CUDA
    usual = POOLED_CPU if pool_in_use() else GLIBC_CPU
    return with_compiler(usual) if compiled else usual


def device_in_use() -> Device | None:
    """The planner's entry for the device in use."""
    if default_device().type == "cpu":
        return this_cpu()
    return device_of_product(torch.cuda.get_device_name())
