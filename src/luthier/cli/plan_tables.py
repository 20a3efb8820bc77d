"""How plans are printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table

from luthier.core.units import format_bytes, format_count, format_duration
from luthier.plan.bar import legend, text_bar
from luthier.plan.request import Plan, sentence

if TYPE_CHECKING:
    from luthier.core.forecasts import PlanCheck
    from luthier.plan.ask import Question
    from luthier.plan.hardware import Device
    from luthier.plan.memory import MemoryPlan

_GUESSED = " (a guess: measure with --calibrate)"


def plan_lines(model: str, plan: Plan) -> list[RenderableType]:
    """One plan: the answer, where the memory goes, and what it takes."""
    memory, interval = plan.memory, plan.memory.total_interval
    step, cost = plan.step, plan.cost
    lines = [
        sentence(plan),
        "",
        f"  model     {model}" if model else "",
        f"  choice    {plan.method}, {plan.precision}, {plan.optimizer}, {plan.parallel}, "
        f"checkpointing {plan.checkpointing}, batch {plan.batch} × {plan.accumulation}",
        f"  trains    {format_count(plan.trained_parameters)} parameters, saves "
        f"{format_bytes(plan.artefact_bytes)}",
        "",
        f"  {text_bar(plan.memory_parts(), plan.limit)} {format_bytes(plan.limit)}",
        *(f"  {line}" for line in legend(plan.memory_parts())),
        "",
        f"  peak      at the {memory.phase}: {format_bytes(memory.allocated)} allocated, "
        f"{format_bytes(memory.reserved)} reserved",
        f"  device    {format_bytes(memory.total)}, likely between {format_bytes(interval.low)} "
        f"and {format_bytes(interval.high)}",
        *_host_line(plan),
        f"  speed     {format_count(step.tokens_per_second)} tokens/s, MFU {step.mfu:.1%}, "
        f"HFU {step.hfu:.1%}{_GUESSED if plan.speed_is_guessed else ''}",
        f"  time      {format_duration(cost.seconds)}, {cost.device_hours:.3g} device-hours, "
        f"{cost.petaflop_s_days:.2g} petaflop/s-days{_energy(plan)}",
    ]
    return list(lines)


def _host_line(plan: Plan) -> list[RenderableType]:
    if not plan.memory.host:
        return []
    together = plan.memory.host * plan.devices
    return [f"  host      {format_bytes(together)} for {plan.devices} device(s) together"]


def inference_lines(question: Question, memory: MemoryPlan, device: Device) -> list[RenderableType]:
    """Where the memory of generation goes."""
    parts = {name: size for name, size in memory.parts().items() if size}
    parts["framework"] = memory.framework.expected
    fits = "fits" if memory.total <= device.memory else "does not fit"
    length = question.target_length or question.length
    return [
        f"{question.model} {fits} on {device.name} with {question.batch} answers of "
        f"{length} tokens at once: {format_bytes(memory.total)} of {format_bytes(device.memory)}.",
        "",
        f"  {text_bar(parts, device.memory)} {format_bytes(device.memory)}",
        *(f"  {line}" for line in legend(parts)),
    ]


def trace_line(trace: PlanCheck) -> str:
    """What a step without data allocated, beside what was planned for it."""
    agree = "they agree" if abs(trace.error) <= 0.1 else "they differ by more than 10 %"
    return (
        f"  trace     {format_bytes(trace.measured_peak_bytes)} allocated on a CPU by a step on "
        f"tensors without data,\n            planned {trace.error:+.1%}: {agree}"
    )


def plans_table(plans: Sequence[Plan]) -> Table:
    """Several plans, one in a row."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    headings = ("devices", "method", "precision", "parallel", "checkpointing", "batch")
    for heading in headings:
        table.add_column(heading)
    for heading in ("memory", "tokens/s", "MFU", "limit"):
        table.add_column(heading, justify="right")
    for plan in plans:
        table.add_row(
            f"{plan.devices} × {plan.device}",
            plan.method,
            plan.precision,
            plan.parallel,
            plan.checkpointing,
            f"{plan.batch} × {plan.accumulation}",
            format_bytes(plan.memory.total),
            format_count(plan.step.tokens_per_second),
            f"{plan.step.mfu:.1%}",
            plan.binding,
        )
    return table


def checks_table(checks: Sequence[PlanCheck]) -> Table:
    """What was predicted beside what was measured."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("run", overflow="fold")
    for heading in ("memory planned", "measured", "error", "time planned", "measured", "error"):
        table.add_column(heading, justify="right")
    for check in checks:
        table.add_row(
            check.run,
            format_bytes(check.predicted_peak_bytes),
            format_bytes(check.measured_peak_bytes),
            f"{check.error:+.1%}",
            *_times(check),
        )
    return table


def _times(check: PlanCheck) -> tuple[str, str, str]:
    if check.predicted_seconds is None or check.measured_seconds is None:
        return "–", "–", "–"
    error = "–" if check.seconds_error is None else f"{check.seconds_error:+.0%}"
    planned, measured = check.predicted_seconds, check.measured_seconds
    return format_duration(planned), format_duration(measured), error


def _energy(plan: Plan) -> str:
    cost = plan.cost
    energy = "" if cost.kilowatt_hours is None else f", {cost.kilowatt_hours:.3g} kWh"
    return energy + ("" if cost.money is None else f", costs {cost.money:.2f}")
