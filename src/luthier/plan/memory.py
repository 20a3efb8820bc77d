"""How much memory a training step and generation take on one device, and by what.

Three figures, each at the peak: *allocated* is what tensors hold; *reserved* is what the allocator
has taken from the device for them; *device* adds what the driver, or on a CPU the interpreter and
its libraries, take before the first tensor. Bytes everywhere.

The peak is the largest of four moments, because activations shrink while gradients grow:

* the loss: all activations, logits and their gradients, and gradients of earlier micro-batches;
* the end of the backward pass: all gradients, and the first layer's activations or the tables'
  gradients once more;
* the optimizer's step: gradients, states and what the step copies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Literal

from luthier.core.heap import pool_installed
from luthier.plan.architecture import Architecture
from luthier.plan.setup import (
    Precision,
    TrainingSetup,
    constant_bytes,
    gradient_bytes,
    master_bytes,
    moment_bytes,
    weight_bytes,
)
from luthier.plan.step import LayerCost, StepCost, step_cost
from luthier.plan.tape import Weight

_FLOAT = 4
_ZERO_BUCKET = 500_000_000

Phase = Literal["loss", "backward", "optimizer step", "generation"]


@dataclass(frozen=True, slots=True)
class Interval:
    """An expected number of bytes, and between which it is likely to lie."""

    low: int
    expected: int
    high: int


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes on one device at the peak, by what takes them."""

    phase: Phase
    allocator: Interval
    framework: Interval
    weights: int
    quantisation: int = 0
    adapters: int = 0
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0
    logits: int = 0
    cache: int = 0
    communication: int = 0
    temporary: int = 0

    def parts(self) -> dict[str, int]:
        """Every part of the allocated memory, by name."""
        return {name: getattr(self, name) for name in _PARTS}

    @property
    def states(self) -> int:
        """Weights, gradients and optimizer states: the model states of ZeRO, section 3.1."""
        return self.weights + self.quantisation + self.adapters + self.gradients + self.optimizer

    @property
    def allocated(self) -> int:
        """What tensors hold."""
        return sum(self.parts().values())

    @property
    def reserved(self) -> int:
        """What the allocator has taken for them."""
        return self.allocated + self.allocator.expected

    @property
    def total(self) -> int:
        """What the device must have."""
        return self.reserved + self.framework.expected

    @property
    def total_interval(self) -> Interval:
        """The same with its uncertainty."""
        low, high = (
            self.allocated + getattr(self.allocator, end) + getattr(self.framework, end)
            for end in ("low", "high")
        )
        return Interval(low=low, expected=self.total, high=high)


# The parts of the allocated memory: all fields but the moment and what lies beside tensors.
_PARTS = tuple(f.name for f in fields(MemoryPlan) if f.type == "int")


@dataclass(frozen=True, slots=True)
class Overhead:
    """Memory beside tensors; each a (low, expected, high).

    Attributes:
        slack: the share of the allocated bytes that an allocator reserves and does not use, because
            blocks are rounded up.
        churn: the share of what comes and goes in a step that is lost to holes: a freed block does
            not fit what comes next. Gradients fill the holes that activations leave.
        framework: bytes before the first tensor, and what the first step adds.
    """

    slack: tuple[float, float, float]
    churn: tuple[float, float, float]
    framework: tuple[float, float, float]

    def allocator(self, parts: Mapping[str, int]) -> Interval:
        """Of tensors by what they are."""
        allocated = sum(parts.values())
        moving = max(
            0, parts.get("activations", 0) + parts.get("logits", 0) - parts.get("gradients", 0)
        )
        shares = zip(self.slack, self.churn, strict=True)
        return _interval(*(allocated * slack + moving * churn for slack, churn in shares))


_MIB = 2**20
# CUDA: the context and kernels take 0.4 to 0.9 GiB by card and libraries; torch's caching allocator
# rounds to 2 MiB and splits.
CUDA = Overhead((0.0, 0.03, 0.12), (0.0, 0.0, 0.0), (400 * _MIB, 560 * _MIB, 920 * _MIB))
# A CPU: the interpreter with torch, transformers and peft; oneTBB's allocator reuses freed blocks
# whole, and in glibc's heap a freed aligned block does not always fit a request of its own size.
POOLED_CPU = Overhead((0.0, 0.0, 0.05), (0.0, 0.0, 0.05), (480 * _MIB, 515 * _MIB, 570 * _MIB))
GLIBC_CPU = Overhead((0.0, 0.0, 0.05), (0.15, 0.5, 0.75), (430 * _MIB, 460 * _MIB, 520 * _MIB))


def usual_overhead(on_cpu: bool) -> Overhead:
    """That of a device that the command line trains on."""
    if not on_cpu:
        return CUDA
    return POOLED_CPU if pool_installed() else GLIBC_CPU


def plan_training(
    architecture: Architecture, setup: TrainingSetup, overhead: Overhead | None = None
) -> MemoryPlan:
    """The peak of one training step on one device, in the steady state.

    Args:
        architecture: the model.
        setup: how it is trained.
        overhead: memory beside tensors; by default that of a training from the command line.
    """
    return peak_memory(setup, pass_cost(architecture, setup), overhead)


def peak_memory(
    setup: TrainingSetup, cost: StepCost, overhead: Overhead | None = None
) -> MemoryPlan:
    """The same as `plan_training`, where the forward and backward pass is known already."""
    overhead = overhead or usual_overhead(setup.on_cpu)
    fixed = _fixed(setup, cost)
    moments: tuple[tuple[Phase, dict[str, float]], ...] = (
        ("loss", _at_loss(setup, cost)),
        ("backward", _at_first_layer(setup, cost)),
        ("backward", _at_tables(setup, cost)),
        ("optimizer step", _at_step(setup, cost)),
    )
    phase, moment = max(moments, key=lambda one: sum(one[1].values()))
    parts = {name: round(size) for name, size in (fixed | moment).items()}
    return MemoryPlan(
        phase=phase,
        **parts,
        allocator=overhead.allocator(parts),
        framework=_interval(*overhead.framework),
    )


def plan_inference(
    architecture: Architecture,
    precision: Precision,
    *,
    batch: int,
    length: int,
    overhead: Overhead = CUDA,
) -> MemoryPlan:
    """The peak of generation: weights, and keys and values of a batch.

    Pope et al. 2022 (arXiv 2211.05102), section 2: the cache takes 2 · kv_heads · head_dim numbers
    a layer and token. Of an encoder-decoder model the decoder's own cache is counted, that of
    cross-attention not.

    Args:
        architecture: the model.
        precision: of the weights, and of the numbers in the cache.
        batch: sequences at once.
        length: tokens of the longest, prompt and answer.
        overhead: memory beside tensors.
    """
    weights = architecture.weights()
    logits = batch * architecture.vocabulary * (precision.compute + _FLOAT)
    sizes = {
        "weights": round(sum(weight_bytes(weight, precision) for weight in weights)),
        "quantisation": round(sum(constant_bytes(weight, precision) for weight in weights)),
        "cache": batch * length * architecture.kv_bytes_per_token(precision.compute),
        "logits": logits,
    }
    return MemoryPlan(
        phase="generation",
        **sizes,
        allocator=overhead.allocator(sizes),
        framework=_interval(*overhead.framework),
    )


def pass_cost(architecture: Architecture, setup: TrainingSetup) -> StepCost:
    """The forward and backward pass of one micro-batch."""
    return step_cost(
        architecture,
        setup.tuning,
        setup.size,
        predicted=setup.predicted,
        everywhere=setup.logits_everywhere,
    )


def _fixed(setup: TrainingSetup, cost: StepCost) -> dict[str, float]:
    """What is there the whole time: weights, constants, adapters, states, buffers."""
    precision, parallel = setup.precision, setup.parallel
    weights = sum(weight_bytes(w, precision) * times for w, times in cost.weights)
    constants = sum(constant_bytes(w, precision) * times for w, times in cost.weights)
    shards = parallel.split(parallel.shards_weights)
    adapters = sum(weight_bytes(w, precision) * times for w, times in cost.added)
    return {
        "weights": weights / shards,
        "quantisation": constants / shards,
        "adapters": adapters / shards,
        "optimizer": _state_bytes(setup, cost) / parallel.split(parallel.shards_states),
        "communication": _communication(setup, cost),
    }


def _state_bytes(setup: TrainingSetup, cost: StepCost) -> float:
    """Moments and masters of everything that is trained."""
    precision, optimizer = setup.precision, setup.optimizer
    return sum(
        times * (moment_bytes(w, precision, optimizer) + master_bytes(w, precision))
        for w, times in cost.trained
    )


def _gradient_bytes(setup: TrainingSetup, cost: StepCost) -> float:
    return _gradients_of(setup, cost.trained)


def _gradients_of(setup: TrainingSetup, weights: Iterable[tuple[Weight, int]]) -> float:
    return sum(gradient_bytes(weight, setup.precision) * times for weight, times in weights)


def _communication(setup: TrainingSetup, cost: StepCost) -> float:
    """Buffers of collectives.

    DDP keeps the gradients a second time in its buckets (Li et al. 2020, arXiv 2006.15704). Sharded
    weights are gathered a layer at a time, the next one while this one computes, and the tables of
    the root stay gathered (FSDP, sections 3.3 and 4.1); their gradients exist whole before they are
    reduced. ZeRO 1 and 2 reduce through a bucket of 5e8 numbers.
    """
    parallel, precision = setup.parallel, setup.precision
    if parallel.kind == "single" or parallel.devices == 1:
        return 0.0
    if not parallel.shards_weights:
        gradients = _gradient_bytes(setup, cost)
        return gradients if parallel.kind == "ddp" else min(gradients, _ZERO_BUCKET * 2.0)
    layers = [
        size
        for layer, times in cost.layers
        for size in [sum(weight_bytes(w, precision) for w in layer.weights)] * min(times, 2)
    ]
    root = sum(weight_bytes(w, precision) for w in cost.embeddings)
    gradients = max(
        (_gradients_of(setup, ((w, 1) for w in layer.trained)) for layer, _ in cost.layers),
        default=0.0,
    )
    layers.sort(reverse=True)
    return root + sum(layers[:2]) + gradients


def _at_loss(setup: TrainingSetup, cost: StepCost) -> dict[str, float]:
    """Activations of all layers, logits and their gradients; earlier micro-batches' gradients."""
    parallel = setup.parallel
    gradients = _gradient_bytes(setup, cost) if setup.accumulation > 1 else 0.0
    # The output layer's gradient is made when two of the loss's three tensors are gone.
    output = cost.logits / 3 + _table_bytes(setup, cost)
    return {
        "gradients": gradients / parallel.split(parallel.shards_gradients),
        "activations": _kept(setup, cost) + cost.shared + cost.head,
        "logits": float(cost.logits),
        "temporary": max(0.0, output - cost.logits),
    }


def _at_first_layer(setup: TrainingSetup, cost: StepCost) -> dict[str, float]:
    """All gradients; the first layer's activations and their gradients; one gradient twice.

    A gradient is made before it is added to the one of earlier micro-batches, or in 16 bits before
    it is added to the float32 one. Of a table that the output layer shares, the layer's part waits
    from the loss on.
    """
    first = next((layer for layer, _ in cost.layers if layer.kept), cost.layers[0][0])
    own = _gradients_of(setup, ((weight, 1) for weight in (*first.trained, *first.added)))
    return _all_gradients(setup, cost) | {
        "activations": first.kept + first.working + cost.shared,
        "logits": 0.0,
        "temporary": min(own, _largest(setup, cost)) + cost.tied * _table_bytes(setup, cost),
    }


def _at_tables(setup: TrainingSetup, cost: StepCost) -> dict[str, float]:
    """All gradients; the tables' once more, that of a shared one in two parts and their sum.

    The output layer's part is a transposed view, in whose place autograd does not add. With no
    gradient of earlier micro-batches there, the sum becomes the gradient.
    """
    if cost.tied and _table_bytes(setup, cost):
        tables = (3 if setup.accumulation > 1 else 2) * _table_bytes(setup, cost)
    else:
        tables = _largest(setup, cost)
    return _all_gradients(setup, cost) | {
        "activations": float(cost.layers[0][0].output + cost.shared),
        "logits": 0.0,
        "temporary": tables,
    }


def _all_gradients(setup: TrainingSetup, cost: StepCost) -> dict[str, float]:
    parallel = setup.parallel
    split = parallel.split(parallel.shards_gradients)
    return {"gradients": _gradient_bytes(setup, cost) / split}


def _largest(setup: TrainingSetup, cost: StepCost) -> float:
    """Bytes of the largest gradient."""
    return max((_gradients_of(setup, ((weight, 1),)) for weight, _ in cost.trained), default=0.0)


def _at_step(setup: TrainingSetup, cost: StepCost) -> dict[str, float]:
    """Gradients, and what the optimizer copies."""
    parallel = setup.parallel
    precision = setup.precision
    trained = sum(
        times * (master_bytes(w, precision) or weight_bytes(w, precision))
        for w, times in cost.trained
    )
    copied = setup.optimizer.temporary * trained
    return _all_gradients(setup, cost) | {
        "activations": 0.0,
        "logits": 0.0,
        "temporary": copied / parallel.split(parallel.shards_states),
    }


def _table_bytes(setup: TrainingSetup, cost: StepCost) -> float:
    """Bytes of the gradient of the matrix that gives logits, if it is trained."""
    trained = [weight for weight in cost.trained_embeddings if weight is cost.output]
    return _gradients_of(setup, ((weight, 1) for weight in trained))


def _kept(setup: TrainingSetup, cost: StepCost) -> float:
    """Activations kept by the layers, under the setup's checkpointing.

    Chen et al. 2016 (arXiv 1604.06174): with full checkpointing each layer keeps its input, and one
    layer at a time is computed again, which at the loss has not begun. Korthikanti et al. 2022
    (arXiv 2205.05198), section 5, for the selective kind.
    """
    kept: Mapping[str, int] = {
        "none": cost.kept,
        "selective": sum(_selective(layer) * times for layer, times in cost.layers),
        "full": sum(layer.output * times for layer, times in cost.layers),
    }
    recomputed = 0
    if setup.checkpointing != "none":
        last, _ = cost.layers[-1]
        # Computing a layer again overlaps with nothing of the loss, so the larger one counts.
        recomputed = max(0, last.kept + last.working - cost.logits)
    return kept[setup.checkpointing] + recomputed


def _selective(layer: LayerCost) -> int:
    return min(layer.kept, layer.products + layer.output)


def _interval(low: float, expected: float, high: float) -> Interval:
    return Interval(low=round(low), expected=round(expected), high=round(high))
