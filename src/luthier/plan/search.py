"""The best configuration that fits, the smallest hardware, the largest model."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from luthier.core.errors import UsageError
from luthier.plan.hardware import Cluster, Device, catalogue
from luthier.plan.request import Choice, Plan, Workload, make_plan
from luthier.plan.setup import PRECISIONS, Checkpointing, ParallelName, PrecisionName

_BATCHES = (1, 2, 4, 8, 16, 32, 64)
_CHECKPOINTING: tuple[Checkpointing, ...] = ("none", "selective", "full")
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_SHARED: tuple[ParallelName, ...] = ("ddp", "zero1", "zero2", "fsdp", "hybrid")
_TRAINABLE: tuple[PrecisionName, ...] = ("bf16-mixed", "bf16-pure", "fp16-mixed", "float32")


@dataclass(frozen=True, slots=True)
class Search:
    """What a search found.

    Attributes:
        best: the plans that fit, the fastest first.
        tried: choices that were planned.
        closest: the plan that needs the least memory, where none fits.
    """

    best: tuple[Plan, ...]
    tried: int
    closest: Plan | None = None


def search(
    work: Workload,
    cluster: Cluster,
    *,
    methods: Sequence[str],
    keep: int = 5,
    price: float | None = None,
) -> Search:
    """The fastest choices that fit a cluster, in order.

    Every choice is planned; equal speed goes to the smaller peak, so the order is always the same.

    Args:
        work: what is trained.
        cluster: on which devices.
        methods: those that may be chosen.
        keep: how many plans to give back.
        price: of a device for an hour.
    """
    plans: list[Plan] = []
    for choice in choices(cluster, methods):
        try:
            plans.append(make_plan(work, choice, cluster, price=price))
        except UsageError:
            continue  # a batch that does not divide, a type that the device lacks
    fitting = [plan for plan in plans if plan.fits]
    fitting.sort(key=lambda plan: (-plan.step.tokens_per_second, plan.memory.total))
    closest = None
    if not fitting and plans:
        closest = min(plans, key=lambda plan: plan.memory.total)
    return Search(best=tuple(fitting[:keep]), tried=len(plans), closest=closest)


def choices(cluster: Cluster, methods: Sequence[str]) -> Iterator[Choice]:
    """Every choice for a cluster."""
    usable = [name for name in _TRAINABLE if _has(cluster.device, name)]
    adapted = [*usable, *(("nf4-double", "int8") if "bfloat16" in cluster.device.flops else ())]
    for method, checkpointing, batch in itertools.product(methods, _CHECKPOINTING, _BATCHES):
        is_frozen = method in {"lora", "rslora", "dora", "adapters", "ia3"}
        for precision, (kind, group) in itertools.product(
            adapted if is_frozen else usable, _layouts(cluster)
        ):
            yield Choice(
                method=method,
                precision=precision,
                parallel=kind,
                group=group,
                checkpointing=checkpointing,
                batch=batch,
            )


def smallest_hardware(
    work: Workload,
    choice: Choice,
    *,
    devices: Iterable[Device] | None = None,
    price: float | None = None,
) -> tuple[Plan, ...]:
    """For each accelerator the fewest devices on which the choice fits, cheapest board first.

    Boards are ordered by the power and memory they bring together, as prices change.
    """
    found: list[Plan] = []
    for device in devices or catalogue().values():
        for count in _COUNTS:
            kind: ParallelName = "single" if count == 1 else "fsdp"
            wide = replace(work, step_sequences=max(work.step_sequences, choice.batch * count))
            try:
                plan = make_plan(
                    wide, replace(choice, parallel=kind), Cluster(device, count), price=price
                )
            except UsageError:
                continue
            if plan.fits:
                found.append(plan)
                break
    found.sort(key=lambda plan: (plan.devices * plan.limit, plan.devices, plan.device))
    return tuple(found)


def largest_model(
    works: Sequence[tuple[str, Workload]],
    cluster: Cluster,
    *,
    methods: Sequence[str],
    price: float | None = None,
) -> tuple[str, Plan] | None:
    """The model with the most parameters of which some choice fits, and the fastest such plan."""
    ordered = sorted(works, key=lambda item: -item[1].model.parameters)
    for name, work in ordered:
        leanest = search(work, cluster, methods=methods, keep=1, price=price)
        if leanest.best:
            return name, leanest.best[0]
    return None


def _layouts(cluster: Cluster) -> tuple[tuple[ParallelName, int], ...]:
    """Ways to share the work, with the size of a group for hybrid."""
    if cluster.devices == 1:
        return (("single", 0),)
    layouts: list[tuple[ParallelName, int]] = [(kind, 0) for kind in _SHARED if kind != "hybrid"]
    if cluster.nodes > 1:
        layouts.append(("hybrid", cluster.device.per_node))
    return tuple(layouts)


def _has(device: Device, name: PrecisionName) -> bool:
    return PRECISIONS[name].dtype in device.flops
