"""Tables of results that commands and notebooks share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType

from luthier.core.tables import Table
from luthier.core.terminal import Text
from luthier.core.units import format_bytes, format_count, format_duration
from luthier.core.verdict import Verdict

if TYPE_CHECKING:
    from luthier.planning.training_plan import Plan
    from luthier.records.data_profile import DataProfile
    from luthier.records.dry_run import DryRun, MethodDryRun

VERDICT_STYLES: dict[Verdict, str] = {
    "fits": "green",
    "may not fit": "yellow",
    "does not fit": "red",
}
_LONGEST_VALUE = 24


def plans_table(plans: Sequence[Plan]) -> Table:
    """Several plans, at least one, as rows."""
    table = Table("devices", "method", "precision", "parallel", "checkpointing", "batch")
    table.figures("memory", "tokens/s", "MFU")
    table.text("limit")
    table.figures(*(heading for heading, _ in _extras(plans[0])))
    is_unsure = any(plan.verdict != "fits" for plan in plans)
    is_lacking = any(not plan.tune.can for plan in plans)
    if is_unsure:
        table.text("verdict")
    if is_lacking:
        table.prose("note")
    for plan in plans:
        cells: list[RenderableType] = [
            f"{plan.devices} × {plan.device}",
            plan.method_in_words,
            plan.precision_in_words,
            plan.parallel,
            plan.checkpointing,
            f"{plan.batch} × {plan.accumulation}",
            format_bytes(plan.memory.total),
            format_count(plan.step.tokens_per_second),
            f"{plan.step.mfu:.1%}",
            plan.binding,
            *(value for _, value in _extras(plan)),
        ]
        if is_unsure:
            cells.append(Text(plan.verdict, style=VERDICT_STYLES[plan.verdict]))
        if is_lacking:
            cells.append(missing_parts(plan))
        table.add_row(*cells)
    return table


def columns_table(profile: DataProfile) -> Table:
    """The columns of a file, with the kind that was recognised."""
    table = Table("column", "kind")
    table.figures("distinct", "missing", "length")
    table.prose("such as")
    for column in profile.columns:
        missing = f"{column.missing:,}" if column.missing else "–"
        shown = " · ".join(short_value(value) for value in column.examples[:2])
        length = f"{column.median_characters:,}"
        table.add_row(
            short_value(column.name), column.kind, f"{column.distinct:,}", missing, length, shown
        )
    return table


def short_value(text: str, most: int = _LONGEST_VALUE) -> str:
    """A value on one line, cut to a length in characters."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def dry_run_table(forecast: DryRun) -> Table:
    """The predicted cost of each rung."""
    table = Table("rung", "trains", "steps", "training", "answering", "memory")
    table.prose("fits")
    for rung in forecast.prompting:
        table.add_row(rung.rung, "–", "–", "–", _duration(rung.evaluate_seconds), "–", "")
    for method in forecast.methods:
        table.add_row(method.method, *_needs(method))
    return table


def missing_parts(plan: Plan) -> str:
    """The parts of a plan that `tune` lacks; empty if there are none."""
    from luthier.planning.runnable import NOT_YET

    return "" if plan.tune.can else f"{NOT_YET}: {', '.join(plan.tune.missing)}"


def _extras(plan: Plan) -> list[tuple[str, str]]:
    """Columns that exist only if tokens or a price were given."""
    columns = [("time", format_duration(plan.cost.seconds))] if plan.tokens else []
    if plan.cost.money is not None and plan.tokens:
        columns.append(("cost", f"{plan.cost.money:.2f}"))
    elif plan.money_per_million is not None:
        columns.append(("cost/1M tokens", f"{plan.money_per_million:.3g}"))
    return columns


def _duration(seconds: float | None) -> str:
    return "–" if seconds is None else format_duration(seconds)


def _needs(method: MethodDryRun) -> tuple[str, str, str, str, str, str]:
    """The row of a method: trained parameters, steps, times, memory, and whether it fits."""
    count = method.trained_parameters
    trained = "–" if count is None else format_count(count)
    answering = _duration(method.evaluate_seconds)
    if method.memory_bytes is None:
        return trained, "–", "–", answering, "–", "the planner does not know this architecture"
    return (
        trained,
        str(method.steps),
        _duration(method.seconds),
        answering,
        format_bytes(method.memory_bytes),
        _fits(method),
    )


def _fits(method: MethodDryRun) -> str:
    available = f"{format_bytes(method.usable_bytes)} available"
    if method.verdict == "may not fit" and method.memory_high_bytes:
        return f"maybe: up to {format_bytes(method.memory_high_bytes)}, {available}"
    return "yes" if method.fits else f"no: {available}"
