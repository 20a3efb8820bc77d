"""What a tuning will take, from the model's configuration and the batches it will really see."""

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
from luthier.data.batches import BatchOrder
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

# Steps whose batches are looked at, how many of the largest forward passes are planned, and how
# many others are timed.
_STEPS_SEEN = 2000
_LARGEST = 6
_TIMED = 24
_FLOAT = 4


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What tuning with one method will take.

    Attributes:
        memory: at the peak.
        trained_parameters: numbers that are trained.
        steps: optimizer steps.
        seconds: of all of them, validations included; None where the device's speed is not known.
        seconds_are_guessed: whether the device is a CPU that was not calibrated.
        micro_batch_tokens: of a forward pass, as configured or as many as fit.
        peak_tokens_per_second: over all processes, if their devices did nothing but the model's
            products, at their peak; None where that is not known.
        compiled: whether the layers are compiled, because it is asked for or expected to pay.
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
    setup: RunContext,
    method: MethodName,
    data: TrainingData,
    limit: float,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> JobPlan | None:
    """The plan of tuning with ``method``; None for a model that the planner does not know.

    Of several processes it is the memory of each.

    Args:
        setup: data, prompts, model and settings.
        method: which method.
        data: the examples.
        limit: bytes that a process may use. Where forward passes may have as many tokens as fit,
            the plan is that with as many as a step has that fit, or else with the fewest.
        processes: the processes that train together.
    """
    outline = outlined(setup.weights(), method, setup.config.methods)
    # Of other methods the planner counts the parameters as they lie in the files, tied or not.
    counted = outline.trained if FACTS[method].on_modules or outline.notes else None
    architecture = architecture_of(setup)
    if architecture is None:
        return None
    planner = _Planner(setup, method, data, architecture, processes, counted)
    tokens = setup.config.train.micro_batch_tokens
    return planner.fitting(limit) if tokens == "auto" else planner.plan(tokens)


def architecture_of(setup: RunContext) -> Architecture | None:
    """The structure of the setup's model, or None where the planner does not know its kind."""
    handle = setup.weights()
    try:
        return read_architecture(handle.description, str(handle.folder.path / "config.json"))
    except DataError:
        return None


@dataclass(frozen=True, slots=True)
class _Planner:
    """Plans one tuning, with forward passes of one size or another."""

    setup: RunContext
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
        """The plan with forward passes of so many tokens.

        The order of the batches is a function of the seed, so the largest forward pass that will
        occur is known, not guessed.
        """
        train, data = self.setup.config.train, self.data
        order = data.order(self.setup.config)
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
        return self.setup.config.methods.of(self.method)

    def _packs(self, order: BatchOrder, tokens: int) -> bool:
        """Whether the loop will pack its micro-batches, if the model allows it."""
        method = method_for(self.method, self.setup.config.methods)
        return can_be_packed(method, self.setup.weights()) and plans_packing(
            self.setup.config.train,
            lengths_by_step(self.data.objective, self.data.examples, order),
            on_cpu=default_device().type == "cpu",
            tokens=tokens,
            width=self.architecture.hidden,
        )

    def _sizes(self) -> list[int]:
        """Tokens a forward pass may have: all of a step, half of them, down to one example."""
        lengths = sorted(map(self.data.objective.length, self.data.examples), reverse=True)
        in_step = len(lengths[: self.setup.config.train.batch_size])
        longest, sizes = lengths[0], [lengths[0] * in_step]
        while sizes[-1] > longest:
            sizes.append(max(longest, sizes[-1] // 2))
        return sizes

    def _with_kept_states(self, memory: MemoryPlan) -> MemoryPlan:
        """Count what frozen layers gave, kept on the host for later epochs.

        They are ``T × D`` numbers for each example. What several processes keep is counted as if
        each met all examples.
        """
        settings, architecture = self._settings, self.architecture
        order = self.data.order(self.setup.config)
        steps = total_steps(order, self.setup.config.train, settings)
        noisy = self.setup.config.train.neftune_alpha is not None
        repeats = steps > order.steps_per_epoch and not noisy
        trained = settings.layers_above_cache
        if trained is None or not repeats:
            return memory
        if architecture.is_encoder_decoder or trained >= architecture.layers:
            return memory
        sequences = self.data.objective.sequences(self.data.examples)
        numbers = architecture.hidden * sum(len(one.input_ids) for one in sequences)
        dtype = resolve_dtype(self.setup.config.model.dtype, default_device())
        kept = min(LIMIT, numbers * dtype.itemsize)
        if default_device().type == "cpu":
            return replace(memory, cache=memory.cache + kept)
        return replace(memory, host=memory.host + kept)

    def _with_counted(self, memory: MemoryPlan, planned: int) -> MemoryPlan:
        """Count what the method trains beside linear layers, such as embeddings saved with it.

        Each number is a float32 copy with its gradient and the optimizer's states.
        """
        more = max(0, (self.counted or 0) - planned)
        return replace(
            memory,
            adapters=memory.adapters + more * _FLOAT,
            gradients=memory.gradients + more * _FLOAT,
            optimizer=memory.optimizer + more * memory.optimizer // max(planned, 1),
        )

    def _with_other_parts(self, memory: MemoryPlan) -> MemoryPlan:
        """Count the weights of a vision-language model that are not its language model's.

        They are loaded and stay as they are, whole in each process.
        """
        handle = self.setup.weights()
        if not is_wrapper(handle.settings):
            return memory
        numbers = handle.stored_numbers - self.architecture.parameters
        dtype = resolve_dtype(self.setup.config.model.dtype, default_device())
        return replace(memory, weights=memory.weights + max(0, numbers) * dtype.itemsize)

    def _seconds(
        self, passes: Sequence[ForwardPass], steps: int, times: float, tokens: int
    ) -> float | None:
        """Seconds of ``times`` the passes, and of the validations in so many steps.

        Processes on a CPU share its cores, in a way that is not planned.
        """
        cluster = self._cluster
        if cluster is None:
            return None

        def trained(one: TrainingSetup, on: Cluster, cost: StepCost) -> float:
            """A pass's share of its step: the update is shared by all of them."""
            return step_time(one, on, cost).seconds / one.accumulation

        seconds = self._mean(passes, trained, cluster) * len(passes) * times
        if measured := (*self.data.validation, *self.data.watched):
            validation = validation_passes(self.data.objective, measured, tokens)
            count = len(validation) * len(validation_steps(steps, self.setup.config.train))
            seconds += self._mean(validation, forward_time, cluster) * count
        return seconds

    def _share_in_time(self, seconds: float | None) -> float:
        """The share of the training that the time limit leaves."""
        limit = self.setup.config.train.max_time
        return min(1.0, max(0.0, limit) / seconds) if limit is not None and seconds else 1.0

    def _compiles(self, passes: Sequence[ForwardPass], times: float) -> bool:
        """Whether the layers are compiled: as configured, or where it pays in ``times`` passes.

        What it saves is not known for quantised weights, nor for layers that are computed again;
        with dropout in an adapter more than rounding would change.
        """
        train = self.setup.config.train
        if train.compile != "auto":
            return train.compile
        cluster, quantisation = self._cluster, self.setup.config.base_of(self.method).quantisation
        unknown = quantisation or train.activation_checkpointing != "none"
        drops = self.setup.config.methods.of(self.method).drops
        if cluster is None or unknown or drops or not has_compiler(default_device()):
            return False

        def between(one: TrainingSetup, on: Cluster, cost: StepCost) -> float:
            return step_time(one, on, cost).traffic / one.accumulation

        seconds = self._mean(passes, between, cluster) * len(passes) * times
        return compiling_pays(seconds, on_cpu=cluster.device.is_cpu)

    @property
    def _cluster(self) -> Cluster | None:
        """What times are planned for; None for processes, which share a CPU's cores somehow.

        Nor is it known how long a CPU takes for products in float16.
        """
        device = _device_in_use()
        if device is None or self.processes.size > 1 or self._dtype not in device.flops:
            return None
        return Cluster(device)

    @property
    def _dtype(self) -> str:
        """What is multiplied."""
        dtype = resolve_dtype(self.setup.config.model.dtype, default_device())
        return str(dtype).removeprefix("torch.")

    def _mean(
        self, passes: Sequence[ForwardPass], seconds: Callable[..., float], cluster: Cluster
    ) -> float:
        """Seconds of one of the passes."""
        setups = [self._training_setup(one) for one in evenly(passes, _TIMED)]
        return statistics.mean(
            seconds(one, cluster, pass_cost(self.architecture, one)) for one in setups
        )

    def _peak_tokens_per_second(self, passes: Sequence[ForwardPass]) -> float | None:
        """What the tokens a second are divided by to give the model FLOPs utilisation.

        Chowdhery et al. 2022 (PaLM, arXiv 2204.02311), appendix B: the FLOPs of a token are those
        that the model needs, forward and backward. What is computed again is not counted; nor is
        padding, since the loop does not count its tokens.
        """
        device = _device_in_use()
        # What is guessed of a CPU that was not measured is no peak.
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
        config, device = self.setup.config, default_device()
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
        train, size = self.setup.config.train, self.processes.size
        if size == 1:
            return Parallel()
        if train.parallelism == "fsdp" and train.shard_group:
            return Parallel("hybrid", size, train.shard_group, whole_constants=True)
        keeps = train.parallelism == "zero2"
        return Parallel(train.parallelism, size, whole_constants=True, keeps_part=keeps)


def _overhead(compiled: bool) -> Overhead:
    """Of this process: it may have been started without the command line."""
    if default_device().type == "cuda":
        return CUDA
    usual = POOLED_CPU if pool_in_use() else GLIBC_CPU
    return with_compiler(usual) if compiled else usual


def _device_in_use() -> Device | None:
    """What the planner knows of the device that will be used."""
    if default_device().type == "cpu":
        return this_cpu()
    return device_of_product(torch.cuda.get_device_name())
