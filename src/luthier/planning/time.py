"""The duration of a training step: matrix products, memory traffic, communication."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import ceil

from luthier.planning.architecture import Architecture
from luthier.planning.collectives import all_reduce, one_way
from luthier.planning.hardware import Cluster
from luthier.planning.memory import pass_cost
from luthier.planning.step import StepCost
from luthier.planning.training_setup import (
    Checkpointing,
    TrainingSetup,
    gradient_bytes,
    master_bytes,
    moment_bytes,
    weight_bytes,
)

# The share of communication that overlaps with products where frameworks prefetch: assumed, because
# no published row isolates it.
OVERLAP = 0.9
# DDP reduces gradients in buckets of this size (Li et al. 2020, arXiv 2006.15704).
_BUCKET = 25 * 2**20
# Bytes per second between device and host memory in one direction, PCIe 4.0 with 16 lanes at four
# fifths of its 32 GB/s; and host bandwidth for the update of one device's share, an eighth of a
# server with 16 channels. Both assumed.
_HOST_LINK = 25e9
_HOST_BANDWIDTH = 25e9
# Seconds to compile a model's layers before the first step: 150 s for 30 layers on two cores,
# without a warm cache. Layers share code, so it hardly grows with their number. On a GPU: assumed.
COMPILE_SECONDS_ON_CPU, COMPILE_SECONDS_ON_GPU = 150.0, 60.0
# The share of the time between products that compiled layers save. On a CPU: 13 % of a LoRA step
# measured, where the plan has 36 % between products (lab/LOG.md, 2026-11-29). On a GPU: assumed.
_FUSED_ON_CPU, _FUSED_ON_GPU = 0.35, 0.5
# Memory transfers per kept activation: written and read forward, its gradient written and read.
_FORWARD_MOVES = 2
_BACKWARD_MOVES = 2


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of one optimizer step, by component.

    Attributes:
        products: matrix products, recomputation included.
        traffic: memory traffic not hidden behind products.
        optimizer: the update.
        communication: not hidden behind products.
        overhead: everything else.
        tokens: tokens of the step, over all devices.
        model_flops: model FLOPs on one device, without recomputation.
        hardware_flops: FLOPs computed by one device.
        peak: FLOP/s of the device.
    """

    products: float
    traffic: float
    optimizer: float
    communication: float
    overhead: float
    tokens: int
    model_flops: float
    hardware_flops: float
    peak: float

    @property
    def seconds(self) -> float:
        """The total."""
        return self.products + self.traffic + self.optimizer + self.communication + self.overhead

    @property
    def tokens_per_second(self) -> float:
        """Throughput over all devices."""
        return self.tokens / self.seconds

    @property
    def mfu(self) -> float:
        """Model FLOPs utilisation."""
        return self.model_flops / self.seconds / self.peak

    @property
    def hfu(self) -> float:
        """Hardware FLOPs utilisation."""
        return self.hardware_flops / self.seconds / self.peak


def step_time(setup: TrainingSetup, cluster: Cluster, cost: StepCost) -> StepTime:
    """The time of an optimizer step.

    Products take FLOPs / (peak · efficiency), or the time to read their weights, whichever is
    longer (the roofline of Williams et al. 2009). Norms, activations, residuals and the loss run
    between the products and are limited by memory, so their traffic is added, as is the optimizer's
    update. Communication overlaps with the backward products, and with the forward products where
    weights are gathered; transfers of offloaded weights count as communication.

    Args:
        setup: the training setup.
        cluster: the devices.
        cost: the forward and backward pass of a micro-batch.

    Raises:
        UsageError: the device does not support the setup's dtype.
    """
    device = cluster.device
    peak = device.peak(setup.precision.dtype)
    model = (cost.forward_flops + cost.backward_flops) * setup.accumulation
    again = recomputed_flops(cost, setup.checkpointing) * setup.accumulation
    products = (model + again) / (peak * device.efficiency) * setup.precision.slowdown
    reading = _weight_traffic(cost, setup) * setup.accumulation / device.bandwidth
    moving = device.between or device.bandwidth
    between = _activation_traffic(cost, setup.checkpointing) * setup.accumulation / moving
    communication = _communication(cost, setup, cluster)
    communication += _host_traffic(cost, setup) / _HOST_LINK
    beside = products * (1 if setup.parallel.shards_weights else 2 / 3)
    hidden = OVERLAP * min(communication, beside)
    return StepTime(
        products=products,
        traffic=max(0.0, reading - products) + between,
        optimizer=_update_traffic(cost, setup)
        / (_HOST_BANDWIDTH if setup.parallel.offload else moving),
        communication=communication - hidden,
        overhead=device.overhead * sum(times for _, times in cost.layers) * setup.accumulation,
        tokens=setup.tokens_per_step,
        model_flops=model,
        hardware_flops=model + again,
        peak=peak,
    )


def forward_time(setup: TrainingSetup, cluster: Cluster, cost: StepCost) -> float:
    """Seconds of one forward pass without gradients on one device, as in a validation.

    Raises:
        UsageError: the device does not support the setup's dtype.
    """
    device = cluster.device
    reached = device.peak(setup.precision.dtype) * device.efficiency
    products = cost.forward_flops / reached * setup.precision.slowdown
    moved = _FORWARD_MOVES * cost.kept + 3 * cost.all_logits
    # A third of a layer's small operations; the backward pass has about two per forward one.
    overhead = device.overhead * sum(times for _, times in cost.layers) / 3
    return products + moved / (device.between or device.bandwidth) + overhead


def compiling_pays(between: float, *, on_cpu: bool) -> bool:
    """Whether compiled layers save more time than their compilation takes.

    Args:
        between: seconds of the whole training between products, as in `StepTime.traffic`.
        on_cpu: whether it runs on a CPU.
    """
    if on_cpu:
        return between * _FUSED_ON_CPU > COMPILE_SECONDS_ON_CPU
    return between * _FUSED_ON_GPU > COMPILE_SECONDS_ON_GPU


def recomputed_flops(cost: StepCost, checkpointing: Checkpointing) -> float:
    """FLOPs of the forward pass that the backward pass recomputes.

    Full checkpointing recomputes every layer; selective checkpointing no matrix products.
    """
    return cost.layer_flops if checkpointing == "full" else 0.0


def scaling_curve(
    architecture: Architecture,
    setup_for: Callable[[int], TrainingSetup],
    clusters: Iterable[Cluster],
) -> tuple[tuple[int, StepTime], ...]:
    """The step time over clusters of increasing size.

    Weak scaling: ``setup_for`` gives every device the same batch. Strong scaling: it divides one
    batch over the devices.
    """
    curve = []
    for cluster in clusters:
        setup = setup_for(cluster.devices)
        curve.append((cluster.devices, step_time(setup, cluster, pass_cost(architecture, setup))))
    return tuple(curve)


def _weight_traffic(cost: StepCost, setup: TrainingSetup) -> float:
    """Bytes of weights read in a forward and backward pass: once for each of three products."""
    return 3 * sum(weight_bytes(w, setup.precision) * times for w, times in cost.weights)


def _activation_traffic(cost: StepCost, checkpointing: Checkpointing = "none") -> float:
    """Bytes of activations and logits moved in a forward and backward pass.

    Traffic is that of the tensors kept without checkpointing; recomputed ones add a forward pass.

    Args:
        cost: the pass.
        checkpointing: the kind of activation checkpointing.
    """
    again = {"none": 0, "selective": 1, "full": 1}[checkpointing]
    moves = (1 + again) * _FORWARD_MOVES + _BACKWARD_MOVES
    return moves * cost.kept + 6 * cost.all_logits


def _update_traffic(cost: StepCost, setup: TrainingSetup) -> float:
    """Bytes moved by the update: gradient, states and weight are read, the last two written.

    Args:
        cost: the pass, with its trained parameters.
        setup: precision, optimizer and sharding.
    """
    precision, total = setup.precision, 0.0
    for weight, times in cost.trained:
        state = moment_bytes(weight, precision, setup.optimizer)
        own = master_bytes(weight, precision) or weight_bytes(weight, precision)
        total += times * (gradient_bytes(weight, precision) + 2 * (state + own))
    return total / setup.parallel.split(setup.parallel.shards_states)


def _host_traffic(cost: StepCost, setup: TrainingSetup) -> float:
    """Bytes of offloaded shards moved per step: weights twice to the device, gradients back.

    Args:
        cost: the pass.
        setup: precision, sharding and micro-batches.
    """
    if not setup.parallel.offload:
        return 0.0
    weights = sum(weight_bytes(weight, setup.precision) * times for weight, times in cost.weights)
    gradients = sum(gradient_bytes(w, setup.precision) * times for w, times in cost.trained)
    return setup.accumulation * (2 * weights + gradients) / setup.parallel.shards


def _communication(cost: StepCost, setup: TrainingSetup, cluster: Cluster) -> float:
    """Seconds of all collectives of a step.

    DDP and ZeRO 1 and 2: one all-reduce of the gradients. Sharded weights: two all-gathers of the
    weights and a reduce-scatter of the gradients per micro-batch (FSDP, section 3). Hybrid: the
    same inside a group, and an all-reduce of each device's part between groups. Sharded weights are
    sent layer by layer, gradients of DDP in buckets, and each message adds its latency.
    """
    parallel, precision = setup.parallel, setup.precision
    if parallel.devices < 2:
        return 0.0
    gradients = sum(gradient_bytes(w, precision) * times for w, times in cost.trained)
    if not parallel.shards_weights:
        return all_reduce(gradients, cluster, ceil(gradients / _BUCKET))
    weights = sum(weight_bytes(weight, precision) * times for weight, times in cost.weights)
    group = Cluster(cluster.device, parallel.shards)
    layers = sum(times for _, times in cost.layers)
    inside = setup.accumulation * (
        2 * one_way(weights, group, layers) + one_way(gradients, group, layers)
    )
    groups = parallel.devices // parallel.shards
    if groups < 2:
        return inside
    # One device of each group, as if each were in a separate node.
    apart = Cluster(replace(cluster.device, per_node=1), groups)
    return inside + all_reduce(gradients / parallel.shards, apart, layers)
