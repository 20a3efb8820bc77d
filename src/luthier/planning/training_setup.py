"""The training settings that affect memory and time: the axes of the planner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from luthier.core.errors import UsageError
from luthier.planning.method_cost import Tuning
from luthier.planning.tape import Pass, Weight

Checkpointing = Literal["none", "selective", "full"]
PrecisionName = Literal[
    "float32", "bf16-mixed", "fp16-mixed", "bf16-pure", "int8", "nf4", "nf4-double"
]
OptimizerName = Literal[
    "adamw", "adamw-foreach", "adamw-8bit", "paged-adamw-8bit", "adafactor", "sgd", "lion"
]
ParallelName = Literal["single", "ddp", "zero1", "zero2", "zero3", "fsdp", "hybrid"]

_FLOAT = 4


@dataclass(frozen=True, slots=True)
class Precision:
    """Bytes per number, by kind.

    Attributes:
        weights: of an unquantised weight.
        compute: of an activation.
        master: of the float32 master copy of a trained weight; 0: none.
        gradients: of the gradient of a trained base weight.
        states: of an optimizer moment of a trained base weight.
        dtype: the dtype of products.
        linear: of a quantised weight of a linear layer, without its constants; 0: not quantised.
        constants: from the shape of such a matrix to the bytes of its quantisation constants.
        slowdown: factor on the time of products for dequantising weights.
    """

    weights: int
    compute: int
    master: int
    gradients: int
    states: int
    dtype: str
    linear: float = 0.0
    constants: Callable[[tuple[int, ...]], float] = lambda shape: 0.0
    slowdown: float = 1.0


def _per_row(shape: tuple[int, ...]) -> float:
    """LLM.int8 (Dettmers et al. 2022, arXiv 2208.07339): a float32 scale per output."""
    return _FLOAT * shape[0]


def _per_block(shape: tuple[int, ...]) -> float:
    """NF4: a float32 constant per block of 64 (Dettmers et al. 2023, arXiv 2305.14314)."""
    return _FLOAT * prod(shape) / 64


def _double(shape: tuple[int, ...]) -> float:
    """Double quantisation, section 3: 8 bits per block and a float32 for every 256 blocks."""
    return prod(shape) * (1 / 64 + _FLOAT / (64 * 256))


# torchtune's published rows, Llama-3.1-8B on one RTX 4090: LoRA 3,083 tokens/s, QLoRA 2,413.
_DEQUANTISE = 3083 / 2413

PRECISIONS: Mapping[PrecisionName, Precision] = {
    "float32": Precision(4, 4, 0, 4, 4, "float32"),
    # Gradients are accumulated in float32, as in this project's loop and in Megatron.
    "bf16-mixed": Precision(2, 2, 4, 4, 4, "bfloat16"),
    "fp16-mixed": Precision(2, 2, 4, 4, 4, "float16"),
    "bf16-pure": Precision(2, 2, 0, 2, 2, "bfloat16"),
    "int8": Precision(2, 2, 0, 2, 2, "bfloat16", 1.0, _per_row, _DEQUANTISE),
    "nf4": Precision(2, 2, 0, 2, 2, "bfloat16", 0.5, _per_block, _DEQUANTISE),
    "nf4-double": Precision(2, 2, 0, 2, 2, "bfloat16", 0.5, _double, _DEQUANTISE),
}


# Base weights of a model loaded quantised: the precision of its linear layers.
QUANTISED: Mapping[str, PrecisionName] = {"nf4": "nf4-double", "int8": "int8"}


def precision_in_memory(
    quantisation: str | None, *, dtype: str, master_weights: bool = True
) -> Precision:
    """The precision with which this project's loop holds a model.

    Args:
        quantisation: of the base's linear layers, ``nf4`` or ``int8``.
        dtype: of everything else: float32, bfloat16 or float16.
        master_weights: whether trained bfloat16 weights have float32 master copies.
    """
    names: Mapping[str, PrecisionName] = {
        "float32": "float32",
        "bfloat16": "bf16-mixed" if master_weights else "bf16-pure",
        "float16": "fp16-mixed",
    }
    plain = PRECISIONS[names[dtype]]
    if quantisation is None:
        return plain
    packed = PRECISIONS[QUANTISED[quantisation]]
    return replace(
        plain, linear=packed.linear, constants=packed.constants, slowdown=packed.slowdown
    )


@dataclass(frozen=True, slots=True)
class Optimizer:
    """The memory of an optimizer.

    Attributes:
        state: from a weight's shape and the bytes of a moment to the bytes of its state.
        temporary: bytes copied at once in a step, as a share of the trained weights' bytes.
        copies_on_cpu: float32 copies of one weight held at a time in a step on a CPU.
    """

    state: Callable[[tuple[int, ...], int], float]
    temporary: float = 0.0
    copies_on_cpu: int = 0


def _moments(number: int) -> Callable[[tuple[int, ...], int], float]:
    return lambda shape, itemsize: number * prod(shape) * itemsize


def _adafactor(shape: tuple[int, ...], itemsize: int) -> float:
    """Row and column sums of a matrix (Shazeer and Stern 2018, arXiv 1804.04235)."""
    if len(shape) < 2:
        return float(prod(shape) * _FLOAT)
    rows, columns = shape[-2:]
    return float(prod(shape[:-2]) * (rows + columns) * _FLOAT)


def _eight_bit(shape: tuple[int, ...], itemsize: int) -> float:
    """Two one-byte moments, with a float32 per 256 of each; small tensors stay float32.

    Dettmers et al. 2022, arXiv 2110.02861; tensors below 4,096 numbers are not quantised.
    """
    count = prod(shape)
    return 2 * count * (_FLOAT if count < 4096 else 1 + _FLOAT / 256)


OPTIMIZERS: Mapping[OptimizerName, Optimizer] = {
    "adamw": Optimizer(_moments(2)),
    "adamw-foreach": Optimizer(_moments(2), temporary=1.0),
    # Bitsandbytes' CPU kernel: both moments, the gradient, a root and a quotient (measured).
    "adamw-8bit": Optimizer(_eight_bit, copies_on_cpu=5),
    # In memory that the driver pages out to the host, not counted on the device.
    "paged-adamw-8bit": Optimizer(_moments(0)),
    "adafactor": Optimizer(_adafactor),
    "sgd": Optimizer(_moments(0)),
    "lion": Optimizer(_moments(1)),
}


@dataclass(frozen=True, slots=True)
class Parallel:
    """The parallelism of a training.

    ZeRO (Rajbhandari et al. 2020, arXiv 1910.02054) stage 1 shards optimizer states, stage 2
    gradients too, stage 3 weights too. FSDP (Zhao et al. 2023, arXiv 2304.11277) is stage 3. Hybrid
    shards within groups and replicates between them.

    Attributes:
        kind: one of these.
        devices: number of devices.
        group: devices that share one copy, for hybrid.
        offload: whether shards of weights, gradients and states are kept in host memory, where the
            optimizer also runs: FSDP's CPUOffloadPolicy, and ZeRO-Infinity without its disks
            (Rajbhandari et al. 2021, arXiv 2104.07857).
        shard_embeddings: whether embedding and output layer are gathered when used, like layers,
            instead of staying gathered from the forward to the backward pass.
        whole_constants: whether quantisation constants are replicated on each device, as with
            bitsandbytes under torch's ``fully_shard``.
        keeps_part: whether, in zero2, a device keeps its shard of the weights beside the gathered
            ones, as torch's ``fully_shard`` does.
    """

    kind: ParallelName = "single"
    devices: int = 1
    group: int = 0
    offload: bool = False
    shard_embeddings: bool = False
    whole_constants: bool = False
    keeps_part: bool = False

    def __post_init__(self) -> None:
        """Validate the combination.

        Raises:
            UsageError: counts contradict the kind or each other.
        """
        if self.devices < 1:
            raise UsageError(f"cannot train on {self.devices} devices", fix="give at least 1")
        if self.kind == "single" and self.devices > 1:
            raise UsageError(
                f"{self.devices} devices need a kind of parallelism",
                fix="choose ddp, zero1, zero2, zero3, fsdp or hybrid",
            )
        if self.kind == "hybrid" and (self.group < 1 or self.devices % self.group):
            raise UsageError(
                f"{self.devices} devices cannot be divided into groups of {self.group}",
                fix="choose a group that divides the number of devices",
            )
        if self.offload and not self.shards_weights:
            raise UsageError(
                f"{self.kind} keeps all weights on the device and cannot offload them",
                fix="choose fsdp, hybrid or zero3, which gather one layer at a time",
            )

    @property
    def gathers(self) -> bool:
        """Whether a layer's weights are on the device only while it computes."""
        return self.shards_weights and (self.devices > 1 or self.offload)

    @property
    def shards(self) -> int:
        """The number of devices over which sharded tensors are spread."""
        return self.group if self.kind == "hybrid" else self.devices

    @property
    def shards_weights(self) -> bool:
        """Whether weights are sharded."""
        return self.kind in {"zero3", "fsdp", "hybrid"}

    @property
    def shards_gradients(self) -> bool:
        """Whether gradients are sharded."""
        return self.kind == "zero2" or self.shards_weights

    @property
    def shards_states(self) -> bool:
        """Whether optimizer states are sharded."""
        return self.kind == "zero1" or self.shards_gradients

    def split(self, sharded: bool) -> int:
        """The divisor for a tensor."""
        return self.shards if sharded else 1


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """One way to train a model.

    Attributes:
        tuning: the method.
        precision: of weights, activations and states.
        optimizer: which one.
        parallel: over which devices.
        checkpointing: the kind of activation checkpointing. ``selective`` keeps the results of
            weight products and fused attention; ``full`` keeps the input of each layer.
        batch: micro-batch size in sequences per device.
        length: tokens per sequence, without virtual ones.
        target_length: tokens per decoder sequence; 0 for a decoder-only model.
        predicted: positions of the micro-batch with logits.
        logits_everywhere: whether logits exist at all positions and outlive the loss.
        accumulation: gradient accumulation: micro-batches per optimizer step.
        loss_chunks: number of chunks in which the loss is computed, with float32 logits of one at a
            time.
        fused_loss: whether gradients are computed together with logits, some rows at a time
            (`rows_at_once`), as in this project's loop.
        update_in_backward: whether each weight is updated, and its gradient freed, as soon as the
            gradient is computed.
        fused_attention: whether attention never materialises its T × T weights.
        padded: whether the micro-batch has padding.
        on_cpu: whether it runs on a CPU.
        compiled: whether each layer is compiled.
    """

    tuning: Tuning
    precision: Precision = PRECISIONS["float32"]
    optimizer: Optimizer = OPTIMIZERS["adamw"]
    parallel: Parallel = Parallel()
    checkpointing: Checkpointing = "none"
    batch: int = 1
    length: int = 512
    target_length: int = 0
    predicted: int = 512
    logits_everywhere: bool = False
    accumulation: int = 1
    loss_chunks: int = 1
    fused_loss: bool = False
    update_in_backward: bool = False
    fused_attention: bool = True
    padded: bool = False
    on_cpu: bool = False
    compiled: bool = False

    def __post_init__(self) -> None:
        """Validate the combination.

        Raises:
            UsageError: an update in the backward pass with gradient accumulation.
        """
        if self.update_in_backward and self.accumulation > 1:
            raise UsageError(
                f"{self.accumulation} accumulated micro-batches cannot update in the backward pass",
                fix="set --global-batch-size to one micro-batch per device",
            )

    @property
    def size(self) -> Pass:
        """The forward pass of one micro-batch."""
        return Pass(
            batch=self.batch,
            length=self.length,
            target_length=self.target_length,
            itemsize=self.precision.compute,
            fused_attention=self.fused_attention,
            padded=self.padded,
            on_cpu=self.on_cpu,
            compiled=self.compiled,
        )

    @property
    def tokens_per_step(self) -> int:
        """Tokens per optimizer step over all devices, without virtual ones."""
        each = self.batch * (self.length + self.target_length)
        return each * self.accumulation * self.parallel.devices


def weight_bytes(weight: Weight, precision: Precision) -> float:
    """Bytes of a parameter in the model, without quantisation constants.

    Adapters are always float32; in a quantised base the linear layers have fewer bits.
    """
    if weight.kind == "adapter":
        return weight.count * _FLOAT
    return weight.count * (precision.linear if _quantised(weight, precision) else precision.weights)


def constant_bytes(weight: Weight, precision: Precision) -> float:
    """Bytes of a parameter's quantisation constants."""
    return precision.constants(weight.shape) if _quantised(weight, precision) else 0.0


def master_bytes(weight: Weight, precision: Precision) -> float:
    """Bytes of the float32 master copy of a trained parameter, which the optimizer updates."""
    return 0.0 if weight.kind == "adapter" else weight.count * precision.master


def gradient_bytes(weight: Weight, precision: Precision) -> float:
    """Bytes of a trained parameter's gradient."""
    return weight.count * (_FLOAT if weight.kind == "adapter" else precision.gradients)


def moment_bytes(weight: Weight, precision: Precision, optimizer: Optimizer) -> float:
    """Bytes of the optimizer's state of a trained parameter, without its master copy."""
    itemsize = _FLOAT if weight.kind == "adapter" else precision.states
    return optimizer.state(weight.shape, itemsize)


def _quantised(weight: Weight, precision: Precision) -> bool:
    # Linear layers only; stacked experts stay unquantised.
    return bool(precision.linear) and weight.kind == "matrix" and len(weight.shape) == 2
