"""Memory of training steps and generation on one device, by component.

Three figures, each at the peak: *allocated* is held by tensors; *reserved* is taken by the
allocator for them; *device* adds the memory in use before the first tensor, by the driver or, on a
CPU, by the interpreter and its libraries. All in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from luthier.core.logit_rows import rows_at_once
from luthier.planning.architecture import Architecture
from luthier.planning.overhead import CUDA, Interval, Overhead, interval, usual_overhead
from luthier.planning.peak_memory import Phase, fixed, moments, offloaded
from luthier.planning.step import Loss, StepCost, step_cost
from luthier.planning.training_setup import (
    Precision,
    TrainingSetup,
    constant_bytes,
    weight_bytes,
)

_FLOAT = 4


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Peak bytes on one device by component; ``host`` is the host memory used in addition."""

    phase: Phase
    allocator: Interval
    framework: Interval
    weights: int = 0
    quantisation: int = 0
    adapters: int = 0
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0
    logits: int = 0
    cache: int = 0
    communication: int = 0
    temporary: int = 0
    host: int = 0

    def parts(self) -> dict[str, int]:
        """The components of the allocated memory, by name."""
        return {name: getattr(self, name) for name in _PARTS}

    @property
    def states(self) -> int:
        """Weights, gradients and optimizer states: the model states of ZeRO, section 3.1."""
        return self.weights + self.quantisation + self.adapters + self.gradients + self.optimizer

    @property
    def allocated(self) -> int:
        """Bytes held by tensors."""
        return sum(self.parts().values())

    @property
    def reserved(self) -> int:
        """Bytes reserved by the allocator."""
        return self.allocated + self.allocator.expected

    @property
    def total(self) -> int:
        """Bytes needed on the device."""
        return self.reserved + self.framework.expected

    @property
    def total_interval(self) -> Interval:
        """The total with its uncertainty."""
        low, high = (
            self.allocated + getattr(self.allocator, end) + getattr(self.framework, end)
            for end in ("low", "high")
        )
        return Interval(low=low, expected=self.total, high=high)


# The components of the allocated memory: all fields except the moment and memory beside tensors.
_PARTS = tuple(f.name for f in fields(MemoryPlan) if f.type == "int" and f.name != "host")


def plan_training(
    architecture: Architecture, setup: TrainingSetup, overhead: Overhead | None = None
) -> MemoryPlan:
    """The peak of a training step on one device, in the steady state.

    Args:
        architecture: the model.
        setup: the training setup.
        overhead: memory beside tensors; default: that of a training from the command line.
    """
    return peak_memory(setup, pass_cost(architecture, setup), overhead)


def peak_memory(
    setup: TrainingSetup, cost: StepCost, overhead: Overhead | None = None
) -> MemoryPlan:
    """As `plan_training`, with the cost of the forward and backward pass given."""
    overhead = overhead or usual_overhead(setup.on_cpu)
    phase, moment = max(moments(setup, cost), key=lambda one: sum(one[1].values()))
    parts = {name: round(size) for name, size in (fixed(setup, cost) | moment).items()}
    return MemoryPlan(
        phase=phase,
        **parts,
        host=round(offloaded(setup, cost)),
        allocator=overhead.allocator(parts),
        framework=interval(*overhead.framework),
    )


def plan_inference(
    architecture: Architecture,
    precision: Precision,
    *,
    batch: int,
    length: int,
    overhead: Overhead = CUDA,
) -> MemoryPlan:
    """The peak of generation: weights and the KV cache of a batch.

    Pope et al. 2022 (arXiv 2211.05102), section 2: the cache takes 2 · kv_heads · head_dim numbers
    per layer and token. In an encoder-decoder model the decoder's self-attention cache is counted,
    that of cross-attention is not.

    Args:
        architecture: the model.
        precision: of the weights and the KV cache.
        batch: number of concurrent sequences.
        length: maximum tokens of a sequence, prompt and answer.
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
        framework=interval(*overhead.framework),
    )


def _loss(architecture: Architecture, setup: TrainingSetup) -> Loss:
    if not setup.fused_loss:
        return Loss(setup.logits_everywhere, setup.loss_chunks)
    rows = rows_at_once(architecture.vocabulary, setup.predicted, on_cpu=setup.on_cpu)
    return Loss(rows=rows)


def pass_cost(architecture: Architecture, setup: TrainingSetup) -> StepCost:
    """The forward and backward pass of one micro-batch."""
    return step_cost(
        architecture,
        setup.tuning,
        setup.size,
        predicted=setup.predicted,
        loss=_loss(architecture, setup),
    )
