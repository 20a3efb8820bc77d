"""Plans of trainings: whether it fits, its duration, its cost, and the reasons."""

from __future__ import annotations

from dataclasses import dataclass

from luthier.core.errors import UsageError
from luthier.core.method_facts import FACTS, quantised_form
from luthier.core.units import format_bytes
from luthier.core.verdict import Verdict, verdict_of
from luthier.planning.architecture import Architecture
from luthier.planning.cost import Cost, training_cost
from luthier.planning.hardware import Cluster
from luthier.planning.memory import MemoryPlan, pass_cost, peak_memory
from luthier.planning.methods import tuning_called
from luthier.planning.precision import precision_on, usual_precision
from luthier.planning.required_targets import require_targets
from luthier.planning.runnable import TuneRun, Wanted, tune_run
from luthier.planning.sizes import Size
from luthier.planning.step import StepCost
from luthier.planning.time import StepTime, step_time
from luthier.planning.training_setup import (
    OPTIMIZERS,
    PRECISIONS,
    Checkpointing,
    OptimizerName,
    Parallel,
    ParallelName,
    PrecisionName,
    TrainingSetup,
)


@dataclass(frozen=True, slots=True)
class Choice:
    """One point of the search space: everything that a search may vary.

    Attributes:
        method: its name; ``qlora`` is lora on an NF4 base with double quantisation.
        precision: of weights and activations.
        compute: the precision of everything except a quantised base; None: the device's usual one.
        optimizer: the optimizer's name.
        parallel: the parallelism across devices.
        group: devices that share one copy, for hybrid.
        checkpointing: the kind of activation checkpointing.
        batch: micro-batch size in sequences per device.
    """

    method: str = "lora"
    precision: PrecisionName = "bf16-mixed"
    optimizer: OptimizerName = "adamw"
    parallel: ParallelName = "single"
    group: int = 0
    checkpointing: Checkpointing = "none"
    batch: int = 1
    compute: PrecisionName | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """The fixed part of a plan: model and training.

    Attributes:
        model: the model.
        seq_len: tokens per sequence (of the encoder, if there is one).
        target_length: tokens per decoder sequence of an encoder-decoder model.
        loss_token_fraction: the share of positions in the loss.
        global_batch_size: sequences per optimizer step over all devices.
        tokens: of the whole training; 0: one step.
        size: of the added parameters.
        logits_everywhere: whether logits are computed at all positions, as in a model's own forward
            pass.
        loss_chunks: number of chunks in which the loss is computed.
        update_in_backward: whether gradients are applied as soon as they are computed.
        fused_attention: whether attention never materialises its T × T weights.
        compiled: whether each layer is compiled.
        offload: whether shards of weights, gradients and states are kept in host memory.
        shard_embeddings: whether embedding and output layer are gathered like layers.
    """

    model: Architecture
    seq_len: int
    target_length: int = 0
    loss_token_fraction: float = 1.0
    global_batch_size: int = 1
    tokens: float = 0.0
    size: Size = Size()
    logits_everywhere: bool = False
    loss_chunks: int = 1
    update_in_backward: bool = False
    fused_attention: bool = True
    compiled: bool = False
    offload: bool = False
    shard_embeddings: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of one choice on one cluster.

    Attributes:
        method: this and the following: the choice.
        devices: number of devices of the kind ``device``.
        memory: on each device, at the peak.
        limit: bytes available on a device.
        step: the duration of an optimizer step.
        cost: of the whole training.
        trained_parameters: number of trained parameters.
        artifact_bytes: size of the saved adapter or model.
        speed_is_guessed: whether the device is an uncalibrated CPU.
        computes_in: the dtype of the products.
        tokens: of the whole training; 0: the cost is that of one step.
        tune: the settings for `tune`, or the parts that it lacks.
    """

    method: str
    precision: PrecisionName
    optimizer: str
    parallel: str
    checkpointing: str
    batch: int
    accumulation: int
    devices: int
    device: str
    memory: MemoryPlan
    limit: int
    step: StepTime
    cost: Cost
    trained_parameters: int
    artifact_bytes: int
    speed_is_guessed: bool
    computes_in: str
    tokens: float
    tune: TuneRun

    @property
    def verdict(self) -> Verdict:
        """Whether the expected peak and the upper end of its estimate fit."""
        return verdict_of(self.memory.total, self.memory.total_interval.high, self.limit)

    @property
    def fits(self) -> bool:
        """Whether the expected peak fits; see `verdict` for the upper end."""
        return self.verdict != "does not fit"

    @property
    def sequences(self) -> int:
        """Sequences per optimizer step over all devices."""
        return self.batch * self.accumulation * self.devices

    @property
    def method_in_words(self) -> str:
        """The name of the method in `tune`: LoRA on a quantised base is qlora."""
        return quantised_form(self.method) if self._is_quantised else self.method

    @property
    def _is_quantised(self) -> bool:
        return bool(PRECISIONS[self.precision].linear)

    @property
    def precision_in_words(self) -> str:
        """The precision, with the dtype of the products if the base is quantised."""
        return f"{self.precision} + {self.computes_in}" if self._is_quantised else self.precision

    @property
    def money_per_million(self) -> float | None:
        """The cost per million tokens; None if no price was given."""
        if self.cost.money is None:
            return None
        return self.cost.money / (self.tokens or self.step.tokens) * 1e6

    @property
    def binding(self) -> str:
        """The bottleneck: the longest component of a step."""
        parts = {
            "compute": self.step.products,
            "memory bandwidth": self.step.traffic + self.step.optimizer,
            "communication": self.step.communication,
            "overhead": self.step.overhead,
        }
        return max(parts, key=lambda name: parts[name])

    def memory_parts(self) -> dict[str, int]:
        """All components of device memory, overhead included."""
        beside = {
            "allocator": self.memory.allocator.expected,
            "framework": self.memory.framework.expected,
        }
        return {name: size for name, size in (self.memory.parts() | beside).items() if size}

    def largest(self) -> str:
        """The largest component of the memory, in words."""
        parts = self.memory.parts()
        name = max(parts, key=lambda part: parts[part])
        return f"{_WORDS.get(name, name)} {format_bytes(parts[name])}"


_WORDS = {
    "optimizer": "optimizer states take",
    "activations": "activations take",
    "weights": "weights take",
    "gradients": "gradients take",
    "logits": "logits take",
    "communication": "communication buffers take",
}


def make_plan(
    work: Workload, choice: Choice, cluster: Cluster, *, price: float | None = None
) -> Plan:
    """The plan of one choice.

    Raises:
        UsageError: the choice contradicts itself, the batch or the device, or the method finds
            nothing to train in the model.
    """
    setup = training_setup(work, choice, cluster)
    cost = pass_cost(work.model, setup)
    require_targets(work.model, choice.method, work.size, setup)
    if not cost.trained_count:
        raise UsageError(
            f"{choice.method} finds nothing to train in this model",
            fix="choose another method, such as lora",
        )
    step = step_time(setup, cluster, cost)
    steps = max(1.0, work.tokens / step.tokens)
    flops = step.model_flops * steps * cluster.devices
    return Plan(
        method=choice.method,
        precision=choice.precision,
        optimizer=choice.optimizer,
        parallel=choice.parallel,
        checkpointing=choice.checkpointing,
        batch=choice.batch,
        accumulation=setup.accumulation,
        devices=cluster.devices,
        device=cluster.device.name,
        memory=peak_memory(setup, cost),
        limit=cluster.device.memory,
        step=step,
        cost=training_cost(step.seconds * steps, flops, cluster, price=price),
        trained_parameters=cost.trained_count,
        artifact_bytes=_artifact_bytes(work, setup, cost),
        speed_is_guessed=cluster.device.is_guessed,
        computes_in=setup.precision.dtype,
        tokens=work.tokens,
        tune=_tune_run(work, choice, cluster),
    )


def training_setup(work: Workload, choice: Choice, cluster: Cluster) -> TrainingSetup:
    """The planner's setup for a choice.

    Raises:
        UsageError: the sequences of a step do not divide, a quantised base would be trained, or the
            length exceeds the context window.
    """
    model, name = work.model, choice.method
    if model.context and work.seq_len > model.context:
        raise UsageError(
            f"{work.seq_len} tokens exceed the context window of {model.context}",
            fix=f"use a --seq-len of at most {model.context}",
        )
    precision = precision_on(cluster.device, choice.precision, choice.compute)
    if name in FACTS and FACTS[name].trains_base and precision.linear:
        raise UsageError(
            f"a base quantised to {choice.precision} cannot be trained",
            fix="choose lora, or an unquantised precision",
        )
    if work.offload and cluster.device.is_cpu:
        raise UsageError(
            "a CPU has no host to offload to",
            fix="leave --offload out, or name an accelerator with --hardware",
        )
    together = choice.batch * cluster.devices
    if work.global_batch_size % together:
        raise UsageError(
            f"a global batch of {work.global_batch_size} sequences does not divide into "
            f"{choice.batch} on each of {cluster.devices} devices",
            fix=f"choose a multiple of {together}, or another micro-batch",
        )
    positions = work.target_length or work.seq_len
    return TrainingSetup(
        tuning=tuning_called(name, model, work.size),
        precision=precision,
        optimizer=OPTIMIZERS[choice.optimizer],
        parallel=Parallel(
            choice.parallel, cluster.devices, choice.group, work.offload, work.shard_embeddings
        ),
        checkpointing=choice.checkpointing,
        batch=choice.batch,
        length=work.seq_len,
        target_length=work.target_length,
        predicted=max(1, round(choice.batch * positions * work.loss_token_fraction)),
        logits_everywhere=work.logits_everywhere,
        accumulation=work.global_batch_size // together,
        loss_chunks=work.loss_chunks,
        fused_loss=work.loss_chunks == 1 and not work.logits_everywhere,
        update_in_backward=work.update_in_backward,
        fused_attention=work.fused_attention,
        compiled=work.compiled,
        on_cpu=cluster.device.is_cpu,
    )


def _tune_run(work: Workload, choice: Choice, cluster: Cluster) -> TuneRun:
    """The settings with which `tune` runs a choice, or the parts that it lacks."""
    length = max(work.seq_len, work.target_length)
    sizes = (
        f"train.batch_size={work.global_batch_size}",
        f"train.micro_batch_tokens={choice.batch * length}",
        f"data.max_length={length}",
    )
    extras = {
        "offload": work.offload,
        "shard-embeddings": work.shard_embeddings,
        "update in backward": work.update_in_backward,
        "loss in chunks": work.loss_chunks > 1,
    }
    return tune_run(
        Wanted(
            method=choice.method,
            precision=choice.precision,
            compute=choice.compute or usual_precision(cluster.device),
            optimizer=choice.optimizer,
            parallel=choice.parallel,
            group=choice.group,
            checkpointing=choice.checkpointing,
            devices=cluster.devices,
            on_cpu=cluster.device.is_cpu,
            size=work.size,
            sizes=sizes,
            extras=tuple(name for name, wanted in extras.items() if wanted),
            compiled=work.compiled,
        )
    )


def sentence(plan: Plan) -> str:
    """The verdict as a sentence, with its reason."""
    need, have = format_bytes(plan.memory.total), format_bytes(plan.limit)
    where = f"{plan.devices} × {plan.device}" if plan.devices > 1 else plan.device
    if plan.verdict == "fits":
        return f"It fits on {where}: {need} of {have}; {plan.binding} limits the speed."
    if plan.verdict == "may not fit":
        high = format_bytes(plan.memory.total_interval.high)
        return (
            f"It may not fit on {where}: the expected {need} of {have} fits, but the upper end of "
            f"the estimate, {high}, does not."
        )
    return f"It does not fit on {where}: it needs {need} of {have}, because {plan.largest()}."


def in_words(plan: Plan) -> str:
    """A plan as a suggestion to try."""
    return (
        f"{plan.method_in_words} in {plan.precision_in_words}: {format_bytes(plan.memory.total)}, "
        f"{plan.step.tokens_per_second:,.0f} tokens/s"
    )


def _artifact_bytes(work: Workload, setup: TrainingSetup, cost: StepCost) -> int:
    """Bytes of the saved artifact: the whole model, or adapters in float32."""
    if any(weight.kind != "adapter" for weight, _ in cost.trained):
        return work.model.parameters * setup.precision.weights
    return cost.trained_count * 4
