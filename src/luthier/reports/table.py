"""Terminal tables of results.

A row has two lines, the value and its interval below, so that the ladder fits into 80 columns. Text
from files is never interpreted as console markup.
"""

from __future__ import annotations

from collections.abc import Sequence

from luthier.core.tables import Table
from luthier.core.terminal import Text
from luthier.records.evaluation import EvaluationRecord
from luthier.records.ladder import LadderRecord
from luthier.reports.format import format_percent
from luthier.reports.rows import LadderRow, detectable_text, ladder_rows, metric_rows
from luthier.reports.runs import RunSummary

_STATUS_STYLES = {"done": "", "skipped": "dim", "failed": "red", "broken": "red"}


def ladder_table(ladder: LadderRecord) -> Table:
    """The ladder: metric, gain, forgetting and cost of each rung."""
    table = Table("rung")
    table.figures(
        f"{ladder.metric}\ninterval",
        "gain\np (pairs)",
        "forgetting\nnats/token",
        "trained\nartifact",
        "memory\ntime",
    )
    for row in ladder_rows(ladder):
        table.add_row(*(_rung_cells(row) if row.is_done else _missing_cells(row)))
    _explain(table, ladder)
    return table


def evaluation_table(records: Sequence[EvaluationRecord]) -> Table:
    """Every metric of every evaluation, with interval, number of examples and signature."""
    table = Table("task", "split", "shots", "metric")
    table.figures("value", _interval_heading(records), "std. error", "n")
    table.prose("signature", style="dim")
    for row in metric_rows("", records):
        cells = (row.task, row.split, row.shots, row.metric, row.value, row.interval, row.error)
        table.add_row(*map(Text, cells), Text(row.n), Text(row.signature))
    first = next((record.metrics[0] for record in records if record.metrics), None)
    if first and first.detectable:
        beside = "from another model, or a smaller one where both find the same examples hard"
        table.explain(detectable_text(first.n, first.name, first.detectable, beside))
    return table


def runs_table(runs: Sequence[RunSummary]) -> Table:
    """The table of `luthier runs`."""
    table = Table("run", "kind", "model", "task", "status")
    table.prose("result")
    table.figures("created")
    for run in runs:
        cells = (run.name, run.kind, run.model, run.task)
        status = Text(run.status, style=_STATUS_STYLES.get(run.status, ""))
        created = Text(f"{run.created:%Y-%m-%d %H:%M}")
        table.add_row(*map(Text, cells), status, Text(run.result), created)
    if any(run.result for run in runs):
        table.explain("Figures are shown as stored; 'luthier report RUN' checks them.")
    return table


def _rung_cells(row: LadderRow) -> list[Text]:
    name = Text(f"▸ {row.name}", style="bold cyan") if row.recommended else Text(f"  {row.name}")
    if row.recommended:
        name.append("\n  recommended", style="not bold cyan")
    gain_style = "green" if row.is_real else ""
    return [
        name,
        _two_lines(row.metric, row.interval, "bold" if row.recommended else ""),
        _two_lines(row.gain, row.p, gain_style),
        _two_lines(row.forgetting, row.forgetting_interval),
        _two_lines(row.trained, row.artifact, below_style=""),
        _two_lines(row.memory, row.time, below_style=""),
    ]


def _missing_cells(row: LadderRow) -> list[Text]:
    style = _STATUS_STYLES[row.status]
    return [Text(f"  {row.name}", style=style), Text(row.status, style=style)]


def _explain(table: Table, ladder: LadderRecord) -> None:
    """Explain p-values and missing rungs below the table, since no cell has room for it."""
    rows = ladder_rows(ladder)
    lines = [f"{row.name} {row.status}: {row.reason}" for row in rows if row.reason]
    if any(row.p for row in rows):
        lines.insert(0, "p is one-sided, for a gain, and corrected for all pairs of rungs.")
    if lines:
        table.explain("\n".join(lines))


def _two_lines(above: str, below: str, style: str = "", below_style: str = "dim") -> Text:
    text = Text(above, style=style)
    return text.append(f"\n{below}", style=below_style or "not bold") if below else text


def _interval_heading(records: Sequence[EvaluationRecord]) -> str:
    levels = {metric.confidence for record in records for metric in record.metrics}
    return f"{format_percent(levels.pop())} interval" if len(levels) == 1 else "interval"
