"""From what a user asks to a plan: does it fit, how long, how much, and why."""

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
    """One point of the space that is searched: everything that may be chosen for a run.

    Attributes:
        method: by name; ``qlora`` is lora on a base in NF4 with double quantisation.
        precision: of weights and activations.
        compute: of a quantised base, the precision of everything that is not quantised; None: the
            device's usual one.
        optimizer: which one.
        parallel: how the devices share the work.
        group: devices that share one copy, for hybrid.
        checkpointing: what is computed again.
        batch: sequences in a micro-batch on one device.
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
    """What is trained, which no search may change.

    Attributes:
        model: the model.
        seq_len: tokens of a sequence (of the encoder, if there is one).
        target_length: tokens of a decoder sequence of an encoder-decoder model.
        loss_token_fraction: the share of positions whose logits the loss needs.
        global_batch_size: sequences of an optimizer step over all devices.
        tokens: of the whole training; 0: one step.
        size: of what the method adds.
        logits_everywhere: as a model's own forward pass computes them.
        loss_chunks: parts in which the loss is computed.
        update_in_backward: whether gradients are used as soon as they are there.
        fused_attention: whether attention never holds its T × T weights.
        compiled: whether each layer is compiled.
        offload: whether shards of weights, gradients and states lie in the host's memory.
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
        method: and what follows: the choice.
        devices: how many, of the kind called ``device``.
        memory: on each device, at the peak.
        limit: bytes that a device has.
        step: the time of an optimizer step.
        cost: of the whole training.
        trained_parameters: numbers that are trained.
        artifact_bytes: of what is saved: the adapter, or the model.
        speed_is_guessed: whether the device is a CPU that was not calibrated.
        computes_in: the type of the products.
        tokens: of the whole training; 0: its cost is that of one step.
        tune: how `tune` would run it, or what `tune` lacks.
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
    def method_in_words(self) -> str:
        """The method as `tune` calls it: LoRA beside a quantised base is qlora."""
        return quantised_form(self.method) if self._is_quantised else self.method

    @property
    def _is_quantised(self) -> bool:
        return bool(PRECISIONS[self.precision].linear)

    @property
    def precision_in_words(self) -> str:
        """The precision, with the type of the products where the base is quantised."""
        return f"{self.precision} + {self.computes_in}" if self._is_quantised else self.precision

    @property
    def money_per_million(self) -> float | None:
        """The cost of a million tokens; None where no price was given."""
        if self.cost.money is None:
            return None
        return self.cost.money / (self.tokens or self.step.tokens) * 1e6

    @property
    def binding(self) -> str:
        """What limits the speed: the largest part of a step."""
        parts = {
            "compute": self.step.products,
            "memory bandwidth": self.step.traffic + self.step.optimizer,
            "communication": self.step.communication,
            "overhead": self.step.overhead,
        }
        return max(parts, key=lambda name: parts[name])

    def memory_parts(self) -> dict[str, int]:
        """Everything that takes memory on the device, overhead included."""
        beside = {
            "allocator": self.memory.allocator.expected,
            "framework": self.memory.framework.expected,
        }
        return {name: size for name, size in (self.memory.parts() | beside).items() if size}

    def largest(self) -> str:
        """The part that takes most of the memory, in words."""
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
        UsageError: a choice that contradicts itself, the batch or the device, or a method that
            finds nothing to train in the model.
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
    """What the planner computes with.

    Raises:
        UsageError: the step's sequences cannot be cut so, a quantised base cannot be trained, or
            the length is beyond the model's context.
    """
    model, name = work.model, choice.method
    if model.context and work.seq_len > model.context:
        raise UsageError(
            f"{work.seq_len} tokens are more than the context of {model.context}",
            fix=f"give a --seq-len of at most {model.context}",
        )
    precision = precision_on(cluster.device, choice.precision, choice.compute)
    if name in FACTS and FACTS[name].trains_base and precision.linear:
        raise UsageError(
            f"a base in {choice.precision} cannot be trained itself",
            fix="choose lora, or a precision that is not quantised",
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
    """How `tune` would run a choice, or what it lacks."""
    length = max(work.seq_len, work.target_length)
    sizes = (
        f"train.batch_size={work.global_batch_size}",
        f"train.micro_batch_tokens={choice.batch * length}",
        f"data.max_length={length}",
    )
    extras = {
        "offload": work.offload,
        "tables apart": work.shard_embeddings,
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
    """The answer in words: fits, may not fit or does not fit, and because of what."""
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
    """A choice that can be tried."""
    return (
        f"{plan.method_in_words} in {plan.precision_in_words} with {plan.parallel}, checkpointing "
        f"{plan.checkpointing}, micro-batch {plan.batch}: {format_bytes(plan.memory.total)}, "
        f"{plan.step.tokens_per_second:,.0f} tokens/s."
    )


def _artifact_bytes(work: Workload, setup: TrainingSetup, cost: StepCost) -> int:
    """Bytes of what is saved: the whole model, or adapters in float32."""
    if any(weight.kind != "adapter" for weight, _ in cost.trained):
        return work.model.parameters * setup.precision.weights
    return cost.trained_count * 4
