"""Plan a training, and check plans against traces and runs: `luthier plan`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.names import did_you_mean
from luthier.records.dry_run import PlanCheck
from luthier.records.run_directory import RunDirectory

if TYPE_CHECKING:
    from luthier.api.plan_results import PlanResult, SearchResult
    from luthier.planning.hardware import Calibration
    from luthier.planning.plan_request import PlanRequest


def plan(
    model: str = "smollm2-135m-instruct",
    *,
    method: str = "lora",
    hardware: str = "cpu",
    devices: int = 1,
    batch: int = 1,
    seq_len: int = 512,
    tokens: float = 0.0,
    price: float | None = None,
    **settings: Any,
) -> PlanResult:
    """Memory, time and cost of a training, without weights or network.

    Args:
        model: a Hub id, a folder, or a known name.
        method: the tuning method; ``qlora`` is LoRA on a quantised base.
        hardware: a device such as ``h200``, ``rtx-4090`` or ``cpu``.
        devices: the number of devices.
        batch: sequences per device and forward pass.
        seq_len: tokens per sequence.
        tokens: tokens of the whole training; 0: time and cost are those of one step.
        price: per device-hour, in any currency.
        settings: other fields of `luthier.planning.plan_request.PlanRequest`, such as ``rank=64``
            or ``checkpointing="full"``.

    Returns:
        The verdict, memory by component, time and cost, and advice where it may not fit.

    Raises:
        UsageError: an unknown name, or an invalid combination.
        DataError: the model has no known configuration.

    Example:
        >>> import luthier
        >>> found = luthier.plan("llama-3.1-8b", method="qlora", hardware="rtx-4090", tokens=1e6)
        >>> found.verdict
        'fits'
        >>> luthier.plan("llama-3.1-8b", method="full", hardware="rtx-4090").fits
        False
    """
    from luthier.api.plan_results import PlanResult
    from luthier.planning import planner

    request = _request(
        model=model,
        method=method,
        hardware=hardware,
        devices=devices,
        batch=batch,
        seq_len=seq_len,
        tokens=tokens,
        **settings,
    )
    made = planner.plan(request, price)
    advice = None if made.verdict == "fits" else planner.advice(request, price)
    return PlanResult(request, made, advice)


def search_plans(
    model: str = "smollm2-135m-instruct",
    *,
    method: str = "any",
    hardware: str = "cpu",
    devices: int = 1,
    seq_len: int = 512,
    tokens: float = 0.0,
    price: float | None = None,
    **settings: Any,
) -> SearchResult:
    """The fastest trainings of a model that fit the hardware, best first.

    Precision, checkpointing, parallelism and micro-batch are searched unless they are given.

    Args:
        model: see `plan`.
        method: see `plan`; ``any`` searches all methods.
        hardware: see `plan`.
        devices: see `plan`.
        seq_len: see `plan`.
        tokens: see `plan`.
        price: see `plan`.
        settings: see `plan`.

    Raises:
        UsageError, DataError: see `plan`.

    Example:
        >>> import luthier
        >>> found = luthier.search_plans("llama-3.1-8b", method="lora", hardware="h100")
        >>> found.plans[0].fits
        True
        >>> table = found.to_pandas()[["precision", "batch", "memory_bytes", "seconds"]]
    """
    from luthier.api.plan_results import SearchResult
    from luthier.planning.planner import best_plans

    request = _request(
        model=model,
        method=method,
        hardware=hardware,
        devices=devices,
        seq_len=seq_len,
        tokens=tokens,
        **settings,
    )
    return SearchResult(request, best_plans(request, price))


def _request(**settings: Any) -> PlanRequest:
    """The request of keyword arguments.

    Raises:
        UsageError: a name is not a setting of the planner.
    """
    from luthier.planning.plan_request import PlanRequest

    known = [field.name for field in fields(PlanRequest)]
    for name in settings:
        if name not in known:
            raise UsageError(
                f"{name!r} is not a setting of a plan",
                fix=did_you_mean(name, known) or f"known: {', '.join(known)}",
            )
    return PlanRequest(**settings)


def calibrate(console: Console | None = None) -> Calibration:
    """Measure this machine in less than half a minute, and store the result for later plans.

    Example:
        >>> import luthier
        >>> measured = luthier.calibrate()  # doctest: +SKIP
    """
    from luthier.preflight.calibrate import calibrate as measure

    return measure(console or Console())


def trace_plan(question: PlanRequest) -> PlanCheck:
    """The plan of a step on one CPU and its trace: the real code on fake tensors.

    Both count tensors only, with two micro-batches, as in the steady state of a training.

    Raises:
        UsageError: a method, precision or layout that the training loop does not support yet.
        DataError: the model has no known configuration.

    Example:
        >>> import luthier
        >>> from luthier.planning.plan_request import PlanRequest
        >>> check = luthier.trace_plan(PlanRequest("smollm2-135m-instruct", seq_len=64))
        >>> abs(check.error) < 0.1
        True
    """
    from luthier.preflight.trace_check import trace_question

    return trace_question(question)


def check_plans(runs: Sequence[str | Path]) -> tuple[PlanCheck, ...]:
    """Predicted and measured values of each run and its rungs.

    Raises:
        DataError: not a run directory, or no run has a measured plan.

    Example:
        >>> import luthier
        >>> (check,) = luthier.check_plans(["runs/tuned"])
        >>> error = f"{check.error:+.0%} of memory"
    """
    from luthier.preflight.memory_check import measured_plans

    return measured_plans([RunDirectory.open(Path(run)) for run in runs])
