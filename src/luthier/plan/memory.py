"""How much memory tuning and inference take.

An estimate to refuse what cannot fit, not a promise: the tests hold it within a factor of two of
what was measured, and each run stores the measured peak beside it.
"""

from __future__ import annotations

from luthier.config.methods import FullConfig, LoraConfig, MethodConfig, PromptTuningConfig
from luthier.core.records import Record
from luthier.plan.shape import ModelShape

_FRAMEWORK_BYTES = 700 * 2**20
_FLOAT = 4


class MemoryPlan(Record):
    """Bytes at the peak, by what takes them."""

    weights: int
    trained: int
    activations: int
    logits: int
    cache: int
    framework: int

    @property
    def total(self) -> int:
        """Bytes at the peak."""
        return (
            self.weights
            + self.trained
            + self.activations
            + self.logits
            + self.cache
            + self.framework
        )


def plan_training(
    shape: ModelShape,
    method: MethodConfig,
    *,
    weight_bytes: int,
    micro_batch_tokens: int,
    trained_tokens: int,
    checkpointing: bool,
) -> MemoryPlan:
    """The peak of one training step.

    Args:
        shape: the model's sizes.
        method: what is trained.
        weight_bytes: bytes of one weight in memory (float32: 4).
        micro_batch_tokens: tokens of the largest forward pass.
        trained_tokens: trained tokens of the largest forward pass; only they have logits.
        checkpointing: whether only the input of each layer is kept.

    Per layer and token a Llama-style block keeps about ``10·hidden + 4.5·intermediate`` numbers for
    its backward pass (51 bytes · hidden in bfloat16 at intermediate = 3.5 hidden, measured on
    Llama-3-8B); with activation checkpointing one layer's share plus one hidden state a layer.
    AdamW holds a gradient and two moments in float32 for each trained number, and a master copy
    where the weight itself is shorter.
    """
    trained = trained_parameters(shape, method)
    master = _FLOAT if weight_bytes < _FLOAT else 0
    per_layer = 10 * shape.hidden + int(4.5 * shape.intermediate)
    kept = shape.layers * shape.hidden + per_layer if checkpointing else shape.layers * per_layer
    return MemoryPlan(
        weights=shape.parameters * weight_bytes,
        trained=trained * (3 * _FLOAT + master),
        activations=micro_batch_tokens * kept * weight_bytes,
        logits=trained_tokens * shape.vocabulary * 3 * _FLOAT,
        cache=0,
        framework=_FRAMEWORK_BYTES,
    )


def plan_inference(shape: ModelShape, *, weight_bytes: int, batch_tokens: int) -> MemoryPlan:
    """The peak of generation: weights and the key/value cache of one batch.

    The cache is counted with a full hidden state for keys and one for values per layer, an upper
    bound that grouped-query attention stays below.
    """
    return MemoryPlan(
        weights=shape.parameters * weight_bytes,
        trained=0,
        activations=0,
        logits=0,
        cache=2 * batch_tokens * shape.layers * shape.hidden * weight_bytes,
        framework=_FRAMEWORK_BYTES,
    )


def trained_parameters(shape: ModelShape, method: MethodConfig) -> int:
    """How many numbers the method trains.

    Raises:
        TypeError: the method is of an unknown class.
    """
    match method:
        case FullConfig():
            return shape.parameters
        case LoraConfig(rank=rank, targets=targets):
            return shape.lora_parameters(rank, targets)
        case PromptTuningConfig(virtual_tokens=count):
            return count * shape.hidden
    raise TypeError(f"no parameter count for {type(method).__name__}")
