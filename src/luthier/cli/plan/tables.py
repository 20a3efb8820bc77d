"""Tables and texts of plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType

from luthier.api.tables import VERDICT_STYLES, missing_parts
from luthier.cli.output import output_width
from luthier.core.shell import Command
from luthier.core.tables import Table
from luthier.core.terminal import Text
from luthier.core.units import counted, format_bytes, format_count, format_duration
from luthier.core.verdict import verdict_of
from luthier.planning.commands import tune_command
from luthier.planning.hardware import GUESSED
from luthier.planning.memory_chart import legend, text_bar
from luthier.planning.training_plan import Plan, sentence

if TYPE_CHECKING:
    from luthier.planning.hardware import Device
    from luthier.planning.memory import MemoryPlan
    from luthier.planning.plan_request import PlanRequest
    from luthier.records.dry_run import PlanCheck

_BAR = 60


def plan_lines(model: str, plan: Plan) -> list[RenderableType]:
    """One plan: the verdict, memory by component, time and cost."""
    memory, interval = plan.memory, plan.memory.total_interval
    step = plan.step
    choice = {
        "model": model,
        "choice": f"{plan.method_in_words}, {plan.precision_in_words}, {plan.optimizer}, "
        f"{plan.parallel}, checkpointing {plan.checkpointing}, "
        f"batch {plan.batch} × {plan.accumulation}",
        "note": missing_parts(plan),
        "trains": f"{format_count(plan.trained_parameters)} parameters, saves "
        f"{format_bytes(plan.artifact_bytes)}",
    }
    takes = {
        "peak": f"at the {memory.phase}: {format_bytes(memory.allocated)} allocated, "
        f"{format_bytes(memory.reserved)} reserved",
        "device": f"{format_bytes(memory.total)}, likely between {format_bytes(interval.low)} "
        f"and {format_bytes(interval.high)}",
        "host": _host(plan),
        "speed": f"{format_count(step.tokens_per_second)} tokens/s, MFU {step.mfu:.1%}, "
        f"HFU {step.hfu:.1%}{f' ({GUESSED})' if plan.speed_is_guessed else ''}",
        "time": _time_line(plan),
        "cost": _cost_line(plan),
    }
    return [
        Text(sentence(plan), style=VERDICT_STYLES[plan.verdict]),
        "",
        _facts(choice),
        *_run(model, plan),
        "",
        *_bar(plan.memory_parts(), plan.limit),
        "",
        _facts(takes),
    ]


def inference_lines(
    question: PlanRequest, memory: MemoryPlan, device: Device
) -> list[RenderableType]:
    """The memory of generation by component."""
    parts = {name: size for name, size in memory.parts().items() if size}
    parts["framework"] = memory.framework.expected
    high = memory.total_interval.high
    verdict = verdict_of(memory.total, high, device.memory)
    length = question.target_length or question.seq_len
    upper = f"; the upper end of the estimate, {format_bytes(high)}, does not fit"
    answers = (
        f"{question.model} {verdict} on {device.name} with {counted(question.batch, 'answer')} of "
        f"{length} tokens at once: {format_bytes(memory.total)} of {format_bytes(device.memory)}"
        f"{upper if verdict == 'may not fit' else ''}."
    )
    return [
        Text(answers, style=VERDICT_STYLES[verdict]),
        "",
        *_bar(parts, device.memory),
    ]


def trace_line(trace: PlanCheck) -> RenderableType:
    """The memory allocated by a step traced with fake tensors, and the planned memory."""
    agree = "they agree" if abs(trace.error) <= 0.1 else "they differ by more than 10 %"
    return _facts(
        {
            "trace": f"{format_bytes(trace.measured_peak_bytes)} allocated on a CPU by a step on "
            f"tensors without data, planned {trace.error:+.1%}: {agree}"
        }
    )


def checks_table(checks: Sequence[PlanCheck]) -> Table:
    """Predicted and measured values."""
    table = Table("run")
    table.figures("memory planned", "measured", "error", "time planned", "measured", "error")
    for check in checks:
        table.add_row(
            check.run,
            format_bytes(check.predicted_peak_bytes),
            format_bytes(check.measured_peak_bytes),
            _off(check.error, 1),
            *_times(check),
        )
    table.explain("Both are shown as stored; they cannot be recomputed from other records.")
    return table


def _facts(facts: dict[str, str]) -> Table:
    """A line per fact, wrapped under itself; empty ones are omitted."""
    table = Table(headed=False)
    table.text()
    table.prose()
    for name, value in facts.items():
        if value:
            table.add_row(f"  {name}", value)
    return table


def _bar(parts: dict[str, int], limit: int) -> list[RenderableType]:
    size = format_bytes(limit)
    # The excess over the limit takes 8 more characters.
    width = max(20, min(_BAR, output_width() - len(size) - 14))
    return [f"  {text_bar(parts, limit, width)} {size}", *(f"  {line}" for line in legend(parts))]


def _run(model: str, plan: Plan) -> list[RenderableType]:
    """The command that trains the plan; nothing if it does not fit or `tune` lacks a part."""
    is_possible = plan.tune.can and plan.fits
    return ["", Command(tune_command(model, plan))] if is_possible else []


def _host(plan: Plan) -> str:
    if not plan.memory.host:
        return ""
    together = format_bytes(plan.memory.host * plan.devices)
    return f"{together} for {counted(plan.devices, 'device')}"


def _time_line(plan: Plan) -> str:
    cost = plan.cost
    if not plan.tokens:
        return f"{format_duration(cost.seconds)} a step; give --tokens for the whole training"
    energy = "" if cost.kilowatt_hours is None else f", {cost.kilowatt_hours:.3g} kWh"
    return (
        f"{format_duration(cost.seconds)} for {format_count(plan.tokens)} tokens, "
        f"{cost.device_hours:.3g} device-hours, {cost.petaflop_s_days:.2g} petaflop/s-days{energy}"
    )


def _cost_line(plan: Plan) -> str:
    if plan.cost.money is None or plan.money_per_million is None:
        return ""
    whole = f"{plan.cost.money:.2f}, " if plan.tokens else ""
    return f"{whole}{plan.money_per_million:.3g} per million tokens"


def _off(error: float, digits: int) -> str:
    """The error of a prediction: in percent, or as a factor if large."""
    return f"{error:+.{digits}%}" if error < 10 else f"{1 + error:.3g} times"


def _times(check: PlanCheck) -> tuple[str, str, str]:
    if check.predicted_seconds is None or check.measured_seconds is None:
        return "–", "–", "–"
    error = "–" if check.seconds_error is None else _off(check.seconds_error, 0)
    planned, measured = check.predicted_seconds, check.measured_seconds
    return format_duration(planned), format_duration(measured), error
