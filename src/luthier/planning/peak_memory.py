"""Allocated memory at the moments of a training step that may be its peak.

* the loss: all activations, logits and their gradients, and gradients of earlier micro-batches;
* the start of the backward pass: all activations, and the gradients of the last layer's;
* its end: all gradients, and the first layer's activations or the embedding gradients once more;
* the optimizer's step: gradients, states and temporary copies.

Activations shrink while gradients grow. All in bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from luthier.planning.step import LayerCost, StepCost
from luthier.planning.tape import Weight
from luthier.planning.training_setup import (
    TrainingSetup,
    constant_bytes,
    gradient_bytes,
    master_bytes,
    moment_bytes,
    weight_bytes,
)

_FLOAT = 4
_ZERO_BUCKET = 500_000_000
_FLOAT = 4

Phase = Literal["loss", "backward", "optimizer step", "generation"]


def moments(setup: TrainingSetup, cost: StepCost) -> tuple[tuple[Phase, dict[str, float]], ...]:
    """The allocated components at each moment, without the permanent ones."""
    passes: tuple[tuple[Phase, dict[str, float]], ...] = (
        ("loss", _at_loss(setup, cost)),
        ("backward", _at_last_layer(setup, cost)),
        ("backward", _at_first_layer(setup, cost)),
        ("backward", _at_tables(setup, cost)),
    )
    if setup.parallel.offload:
        return tuple((phase, parts | {"gradients": 0.0}) for phase, parts in passes)
    return *passes, ("optimizer step", _at_step(setup, cost))


def fixed(setup: TrainingSetup, cost: StepCost) -> dict[str, float]:
    """The permanent components: weights, constants, adapters, states."""
    return {} if setup.parallel.offload else _states(setup, cost)


def offloaded(setup: TrainingSetup, cost: StepCost) -> float:
    """Bytes of a device's shards in host memory."""
    if not setup.parallel.offload:
        return 0.0
    gradients = _gradients_of(setup, cost.trained) / setup.parallel.shards
    return sum(_states(setup, cost).values()) + gradients


def _states(setup: TrainingSetup, cost: StepCost) -> dict[str, float]:
    precision, parallel = setup.precision, setup.parallel
    weights = sum(weight_bytes(w, precision) * times for w, times in cost.weights)
    constants = sum(constant_bytes(w, precision) * times for w, times in cost.weights)
    share = 1 / parallel.split(parallel.shards_weights)
    share += parallel.keeps_part / parallel.devices
    adapters = sum(weight_bytes(w, precision) * times for w, times in cost.added)
    return {
        "weights": weights * share,
        "quantisation": constants * (1 if parallel.whole_constants else share),
        "adapters": adapters * share,
        "optimizer": _state_bytes(setup, cost) / parallel.split(parallel.shards_states),
    }


def _state_bytes(setup: TrainingSetup, cost: StepCost) -> float:
    """Bytes of moments and master weights of all trained parameters."""
    precision, optimizer = setup.precision, setup.optimizer
    return sum(
        times * (moment_bytes(w, precision, optimizer) + master_bytes(w, precision))
        for w, times in cost.trained
    )


def _gradient_bytes(setup: TrainingSetup, cost: StepCost) -> float:
    """Bytes of the gradients alive at the end of the backward pass."""
    if setup.update_in_backward:
        return _largest(setup, cost)
    return _gradients_of(setup, cost.trained)


def _gradients_of(setup: TrainingSetup, weights: Iterable[tuple[Weight, int]]) -> float:
    return sum(gradient_bytes(weight, setup.precision) * times for weight, times in weights)


def _communication(setup: TrainingSetup, cost: StepCost) -> float:
    """Bytes of collective buffers in the backward pass.

    DDP keeps a second copy of the gradients in its buckets (Li et al. 2020, arXiv 2006.15704).
    Sharded weights are gathered layer by layer, with the next layer prefetched, while the
    embeddings in the root unit stay gathered (FSDP, sections 3.3 and 4.1); their gradients exist
    unsharded before they are reduced. Separately sharded embeddings are gathered like layers. ZeRO
    1 and 2 reduce through a bucket of 5e8 numbers.
    """
    parallel = setup.parallel
    if not parallel.gathers:
        gradients = _gradient_bytes(setup, cost) if parallel.devices > 1 else 0.0
        return gradients if parallel.kind == "ddp" else min(gradients, _ZERO_BUCKET * 2.0)
    gradients = max(
        (_gradients_of(setup, ((w, 1) for w in layer.trained)) for layer, _ in cost.layers),
        default=0.0,
    )
    return _root(setup, cost) + sum(_largest_layers(setup, cost)) + gradients


def _largest_layers(setup: TrainingSetup, cost: StepCost) -> list[float]:
    """Bytes of the weights of the two largest layers, in descending order."""
    sizes = [
        size
        for layer, times in cost.layers
        for size in [sum(weight_bytes(w, setup.precision) for w in layer.weights)] * min(times, 2)
    ]
    return sorted(sizes, reverse=True)[:2]


def _communication_at_loss(setup: TrainingSetup, cost: StepCost) -> float:
    """Gathered embeddings, or the output layer and the prefetched last layer."""
    parallel = setup.parallel
    if not parallel.gathers:
        return _communication(setup, cost)
    if not parallel.shard_embeddings:
        return _root(setup, cost)
    output = weight_bytes(cost.output, setup.precision) if cost.output else 0.0
    return output + _largest_layers(setup, cost)[0]


def _root(setup: TrainingSetup, cost: StepCost) -> float:
    """Bytes of embeddings that stay gathered."""
    if not setup.parallel.gathers or setup.parallel.shard_embeddings:
        return 0.0
    return sum(weight_bytes(w, setup.precision) for w in cost.embeddings)


def _at_loss(setup: TrainingSetup, cost: StepCost) -> dict[str, float]:
    """Activations of all layers, logits and their gradients; earlier micro-batches' gradients.

    The output layer's gradient is created when two of the loss's three tensors are freed. A loss in
    chunks adds each chunk's part of it while the next chunk has logits; a fused loss accumulates it
    in place.
    """
    table = _table_bytes(setup, cost)
    one_chunk = max(0.0, cost.logits / 3 + table - cost.logits)
    tables = one_chunk if setup.loss_chunks == 1 else 2 * table
    return {
        "gradients": _earlier_gradients(setup, cost),
        "activations": _kept(setup, cost) + cost.shared + cost.head,
        "logits": float(cost.logits),
        "temporary": _fused_table(setup, cost) if setup.fused_loss else tables,
        "communication": _communication_at_loss(setup, cost),
    }


def _at_last_layer(setup: TrainingSetup, cost: StepCost) -> dict[str, float]:
    """Activations of all layers, the last layer's possibly recomputed, and their gradients.

    Recomputation does not overlap with the loss; the output layer's gradient is already allocated.
    """
    last, _ = cost.layers[-1]
    # The last layer's kept activations are counted with the others.
    counted = _kept_in(last, setup)
    return {
        "gradients": _earlier_gradients(setup, cost),
        "activations": _kept(setup, cost) - counted + last.backward + cost.shared,
        "logits": 0.0,
        "temporary": _table_bytes(setup, cost),
        "communication": _communication(setup, cost),
    }


def _earlier_gradients(setup: TrainingSetup, cost: StepCost) -> float:
    parallel = setup.parallel
    gradients = _gradient_bytes(setup, cost) if setup.accumulation > 1 else 0.0
    return gradients / parallel.split(parallel.shards_gradients)


def _at_first_layer(setup: TrainingSetup, cost: StepCost) -> dict[str, float]:
    """All gradients; the first layer's activations and their gradients; one gradient twice.

    A new gradient exists before it is added to that of earlier micro-batches, or in 16 bits before
    it is added to the float32 one. For an embedding tied to the output layer, the output layer's
    part exists from the loss on.
    """
    first = next((layer for layer, _ in cost.layers if layer.kept), cost.layers[0][0])
    own = _gradients_of(setup, ((weight, 1) for weight in (*first.trained, *first.added)))
    return _all_gradients(setup, cost) | {
        "activations": first.backward + cost.shared,
        "logits": 0.0,
        "temporary": min(own, _largest(setup, cost)) + cost.tied * _table_bytes(setup, cost),
    }


def _at_tables(setup: TrainingSetup, cost: StepCost) -> dict[str, float]:
    """All gradients; the embeddings' once more, for a tied one as two parts and their sum.

    The output layer's part is a transposed view, which autograd does not accumulate in place.
    Without gradients of earlier micro-batches, the sum becomes the gradient.
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
    return {
        "gradients": _gradient_bytes(setup, cost) / split,
        "communication": _communication(setup, cost),
    }


def _largest(setup: TrainingSetup, cost: StepCost) -> float:
    """Bytes of the largest gradient."""
    return max((_gradients_of(setup, ((weight, 1),)) for weight, _ in cost.trained), default=0.0)


def _at_step(setup: TrainingSetup, cost: StepCost) -> dict[str, float]:
    """Gradients and the optimizer's temporary copies."""
    parallel = setup.parallel
    precision = setup.precision
    trained = sum(
        times * (master_bytes(w, precision) or weight_bytes(w, precision))
        for w, times in cost.trained
    )
    largest = max((weight.count for weight, _ in cost.trained), default=0)
    at_once = setup.on_cpu * setup.optimizer.copies_on_cpu * _FLOAT * largest
    copied = setup.optimizer.temporary * trained + at_once
    return _all_gradients(setup, cost) | {
        "activations": 0.0,
        "logits": 0.0,
        "temporary": copied / parallel.split(parallel.shards_states),
    }


def _fused_table(setup: TrainingSetup, cost: StepCost) -> float:
    """Bytes of the output matrix's gradient while a fused loss accumulates it.

    Chunks are summed in float32, beside the 16-bit gradient if weights have 16 bits.
    """
    if not _table_bytes(setup, cost):
        return 0.0
    own = setup.precision.compute
    several = cost.loss_parts > 1 and own != _FLOAT
    return cost.output.count * (_FLOAT + own if several else own)


def _table_bytes(setup: TrainingSetup, cost: StepCost) -> float:
    """Bytes of the output matrix's gradient, if trained."""
    trained = [weight for weight in cost.trained_embeddings if weight is cost.output]
    return _gradients_of(setup, ((weight, 1) for weight in trained))


def _kept(setup: TrainingSetup, cost: StepCost) -> float:
    """Bytes of activations kept by all layers."""
    return sum(_kept_in(layer, setup) * times for layer, times in cost.layers)


def _kept_in(layer: LayerCost, setup: TrainingSetup) -> int:
    """Bytes of activations kept by one layer, under the setup's checkpointing.

    With full checkpointing each layer keeps its input (Chen et al. 2016, arXiv 1604.06174).
    Selective checkpointing (after Korthikanti et al. 2022, arXiv 2205.05198, section 5) also keeps
    the results of matrix products, even those the backward pass does not need. Nothing is kept
    where no gradient flows.
    """
    if not layer.kept:
        return 0
    return {
        "none": layer.kept,
        "selective": layer.products + layer.output,
        "full": layer.output,
    }[setup.checkpointing]
