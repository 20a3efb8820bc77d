"""Command lines that make or run a plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any

from luthier.planning.hardware import Cluster, find_device
from luthier.planning.model_config import full_name
from luthier.planning.plan_request import PlanRequest
from luthier.planning.training_plan import Plan

_POSITIONAL = frozenset({"model", "revision"})


def plan_command(request: PlanRequest, price: float | None = None) -> tuple[str, ...]:
    """The arguments of ``luthier plan`` for a request; default values are omitted."""
    cost = () if price is None else ("--price", f"{price:g}")
    return ("luthier", "plan", request.model, *_options(request), *cost)


def search_command(request: PlanRequest) -> tuple[str, ...]:
    """The arguments of ``luthier plan search`` for a request."""
    return ("luthier", "plan", "search", request.model, *_options(request))


def tune_command(model: str, plan: Plan) -> tuple[str, ...]:
    """The command that trains a plan which `tune` can run.

    Several machines need the files that ``luthier launch`` writes.

    Args:
        model: the name that the plan was made for.
        plan: the plan.
    """
    name, settings = full_name(model), plan.tune.settings
    device = find_device(plan.device)
    cluster = Cluster(device, plan.devices)
    if cluster.nodes > 1:
        gpus = 0 if device.is_cpu else cluster.in_node
        kind = () if device.is_cpu else ("--accelerator", device.title)
        nodes = ("--nodes", str(cluster.nodes), "--gpus", str(gpus), *kind)
        return ("luthier", "launch", f"model.id={name}", *settings, *nodes)
    together = ("--nproc", str(plan.devices)) if plan.devices > 1 else ()
    return ("luthier", "tune", "--model", name, *settings, *together)


def _options(request: PlanRequest) -> Iterator[str]:
    for field in fields(request):
        value = getattr(request, field.name)
        if field.name in _POSITIONAL or value == field.default or field.default is MISSING:
            continue
        yield f"--{field.name.replace('_', '-')}"
        if value is not True:
            yield _written(value)


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
