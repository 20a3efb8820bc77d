"""Search for the best configuration that fits, the smallest hardware and the largest model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from luthier.core.errors import UsageError
from luthier.planning.hardware import Cluster, Device, catalogue
from luthier.planning.training_plan import Choice, Plan, Workload, make_plan
from luthier.planning.training_setup import PRECISIONS, Checkpointing, ParallelName

BATCHES = (1, 2, 4, 8, 16, 32, 64)
_CHECKPOINTING: tuple[Checkpointing, ...] = ("none", "selective", "full")
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_SHARED: tuple[ParallelName, ...] = ("ddp", "zero1", "zero2", "fsdp", "hybrid")


@dataclass(frozen=True, slots=True)
class Search:
    """The result of a search.

    Attributes:
        best: the plans that fit. Plans that `tune` can run come first, then those whose upper end
            fits, then the fastest.
        tried: number of planned choices.
        closest: the plan with the least memory, if none fits.
    """

    best: tuple[Plan, ...]
    tried: int
    closest: Plan | None = None


def search(
    work: Workload,
    cluster: Cluster,
    *,
    methods: Sequence[str],
    fixed: Mapping[str, Any] = MappingProxyType({}),
    keep: int = 5,
    price: float | None = None,
) -> Search:
    """The fastest choices that fit a cluster, best first.

    Every choice is planned. Ties in speed go to the smaller peak, so the order is deterministic.
    Plans that `tune` can run come before all others.

    Args:
        work: the fixed part of the plan.
        cluster: the devices.
        methods: the allowed methods.
        fixed: fields of `Choice` with a fixed value.
        keep: number of plans to return.
        price: per device-hour.

    Raises:
        UsageError: no choice can be planned; the message is that of the last one.
    """
    plans: list[Plan] = []
    with _some_must_succeed() as attempt:
        for choice in choices(cluster, methods, fixed):
            with attempt():  # a batch may not divide, or the device may lack a dtype
                plans.append(make_plan(work, choice, cluster, price=price))
    # Equivalent names, such as two precisions of an untrained base, are one choice: the first that
    # `tune` supports.
    plans.sort(key=lambda plan: not plan.tune.can)
    distinct = {(plan.step, plan.memory): plan for plan in reversed(plans) if plan.fits}
    fitting = list(reversed(distinct.values()))
    fitting.sort(key=_rank)
    closest = None
    if not fitting and plans:
        closest = min(plans, key=lambda plan: (not plan.tune.can, plan.memory.total))
    return Search(best=tuple(fitting[:keep]), tried=len(plans), closest=closest)


def _rank(plan: Plan) -> tuple[bool, bool, float, int]:
    """The sort key of a plan that fits, best first."""
    is_tight = plan.verdict == "may not fit"
    return not plan.tune.can, is_tight, -plan.step.tokens_per_second, plan.memory.total


def choices(
    cluster: Cluster, methods: Sequence[str], fixed: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[Choice]:
    """Every choice for a cluster, with the fields of ``fixed`` at their values."""
    everything = itertools.product(methods, PRECISIONS, _layouts(cluster), _CHECKPOINTING, BATCHES)
    seen: set[Choice] = set()
    for method, precision, (kind, group), checkpointing, batch in everything:
        free = Choice(
            method=method,
            precision=precision,
            parallel=kind,
            group=group,
            checkpointing=checkpointing,
            batch=batch,
        )
        choice = replace(free, **fixed)
        if choice not in seen:
            seen.add(choice)
            yield choice


def smallest_hardware(
    work: Workload,
    choice_for: Callable[[Device], Choice],
    *,
    devices: Iterable[Device] | None = None,
    price: float | None = None,
) -> tuple[Plan, ...]:
    """The fewest devices of each accelerator on which a choice fits.

    Accelerators that `tune` can train on come first, sorted by total memory, because prices change.

    Args:
        work: the fixed part of the plan.
        choice_for: the choice for a kind of device; its parallelism is ignored.
        devices: the allowed kinds; None: the catalogue.
        price: per device-hour.

    Raises:
        UsageError: no kind can be planned; the message is that of the last one.
    """
    found: list[Plan] = []
    with _some_must_succeed() as attempt:
        for device in devices or catalogue().values():
            with attempt():
                if plan := _fewest(work, choice_for(device), device, price):
                    found.append(plan)
    found.sort(
        key=lambda plan: (
            not plan.tune.can,
            plan.devices * plan.limit,
            plan.devices,
            plan.device,
        )
    )
    return tuple(found)


def largest_model(
    works: Sequence[tuple[str, Workload]],
    cluster: Cluster,
    *,
    methods: Sequence[str],
    fixed: Mapping[str, Any] = MappingProxyType({}),
    price: float | None = None,
) -> tuple[str, Plan] | None:
    """The model with the most parameters for which some choice fits, with its fastest plan.

    A model that `tune` can train and whose upper end fits comes before a larger one.

    Args:
        works: the fixed part of the plan by model name.
        cluster: the devices.
        methods: the allowed methods.
        fixed: as in `search`.
        price: per device-hour.
    """
    ordered = sorted(works, key=lambda item: -item[1].model.parameters)
    otherwise: tuple[str, Plan] | None = None
    with _some_must_succeed() as attempt:
        for name, work in ordered:
            with attempt():  # the context window may be too short
                found = search(work, cluster, methods=methods, fixed=fixed, keep=1, price=price)
                if found.best and found.best[0].tune.can and found.best[0].verdict == "fits":
                    return name, found.best[0]
                if found.best and otherwise is None:
                    otherwise = name, found.best[0]
    return otherwise


def _fewest(work: Workload, choice: Choice, device: Device, price: float | None) -> Plan | None:
    """The plan on the fewest devices of a kind on which a choice fits, upper end included.

    Raises:
        UsageError: no number of devices can be planned; the message is that of the last one.
    """
    with _some_must_succeed() as attempt:
        for count in _COUNTS:
            kind: ParallelName = choice.parallel if count == 1 else "fsdp"
            wide = replace(
                work, global_batch_size=max(work.global_batch_size, choice.batch * count)
            )
            shared = replace(choice, parallel=kind)
            with attempt():
                plan = make_plan(wide, shared, Cluster(device, count), price=price)
                if plan.verdict == "fits":
                    return plan
    return None


@contextmanager
def _some_must_succeed() -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """A context for each attempt, in which a `UsageError` ends that attempt only.

    Raises:
        UsageError: no attempt succeeded: the error of the last one.
    """
    succeeded = False
    refusal: UsageError | None = None

    @contextmanager
    def attempt() -> Iterator[None]:
        nonlocal succeeded, refusal
        try:
            yield
            succeeded = True
        except UsageError as error:
            refusal = error

    yield attempt
    if refusal and not succeeded:
        raise refusal


def _layouts(cluster: Cluster) -> tuple[tuple[ParallelName, int], ...]:
    """The possible kinds of parallelism, with the group size for hybrid."""
    if cluster.devices == 1:
        return (("single", 0),)
    layouts: list[tuple[ParallelName, int]] = [(kind, 0) for kind in _SHARED if kind != "hybrid"]
    if cluster.nodes > 1:
        layouts.append(("hybrid", cluster.device.per_node))
    return tuple(layouts)
