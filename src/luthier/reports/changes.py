"""Terminal tables of sample sizes, forgetting and judgements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from luthier.core.tables import Table
from luthier.records.comparison import Judgement, SampleSize
from luthier.records.forgetting import ForgettingReport, GroupChange, TaskChange
from luthier.reports.format import ABSENT, HasInterval, format_interval, format_p, format_value

_GROUPS_SHOWN = 10


def sample_size_table(plan: SampleSize) -> Table:
    """Number of examples needed, by the correlation of the two systems' scores."""
    table = Table()
    table.prose("correlation of the two systems' scores")
    table.figures(f"examples to detect {plan.difference:g}")
    if plan.measured_on > 1:
        table.figures(f"detectable with these {plan.measured_on:,}")
    for row in plan.rows:
        cells = [f"{row.correlation:g}", f"{row.examples:,}"]
        if plan.measured_on > 1:
            cells.append(format_value(row.detectable))
        table.add_row(*cells)
    table.explain(
        f"Spread: {plan.source}. {plan.power:.0%} power, α = {plan.alpha:g}; both systems answer "
        "the same examples."
    )
    return table


def forgetting_tables(report: ForgettingReport) -> Iterator[Table]:
    """The overall changes, then by kind: general text, and each evaluation that both runs have."""
    table = _table(
        "measured on", "before", "after", "change", "interval", "p (two-sided)", "lost", "gained"
    )
    if report.general:
        general = report.general
        figures = _figures(general.before, general.after, general.value, general)
        table.add_row(f"{general.text}, nats/token", *figures, *[ABSENT] * 3)
    for task in report.tasks:
        table.add_row(f"{task.task}, {task.metric}", *_task_figures(task))
    yield table
    if len(report.topics) > 1:
        yield _groups("kind of general text, nats/token", report.topics)
    for task in report.tasks:
        if len(task.groups) > 1:
            yield _groups(f"kind of {task.task}, {task.metric}", task.groups)


def judgement_table(judgements: Sequence[Judgement]) -> Table:
    """A row for each judged system."""
    table = _table("run", "over", "win rate", "interval", "won", "tied", "lost", "inconsistent")
    table.figures("unread")
    for each in judgements:
        rate = each.win_rate
        is_read = each.unread < rate.n - each.equal or not each.unread
        table.add_row(
            each.candidate,
            each.baseline,
            format_value(rate.value) if is_read else ABSENT,
            format_interval(rate) if is_read else ABSENT,
            *(f"{count:,}" for count in (each.wins, each.ties, each.losses)),
            f"{each.inconsistency:.0%}",
            f"{each.unread:,} of {rate.n:,}",
        )
    judge = judgements[0].judge
    place = f" at {judge.endpoint}, whose weights are unknown" if judge.endpoint else ""
    table.explain(
        f"Judge: {judge.id}{place}. Each pair was judged in both orders. Contradicting "
        "(inconsistent) or unreadable verdicts count as ties, and a tie counts as half a win."
    )
    return table


def _task_figures(task: TaskChange) -> tuple[str, ...]:
    compared = task.comparison
    figures = _figures(task.before, task.after, compared.difference, compared)
    counts = (f"{count} of {compared.n}" for count in (task.lost, task.gained))
    return (*figures, format_p(compared.p_adjusted), *counts)


def _groups(heading: str, groups: Sequence[GroupChange]) -> Table:
    """The groups with the largest losses first, and the number of the others."""
    table = _table(heading, "n", "before", "after", "change", "interval")
    for group in groups[:_GROUPS_SHOWN]:
        figures = _figures(group.before, group.after, group.change, group)
        table.add_row(group.group or "(none)", str(group.n), *figures)
    left = len(groups) - _GROUPS_SHOWN
    if left > 0:
        table.explain(f"and {left} more, with smaller losses")
    return table


def _figures(
    before: float, after: float, change: float, interval: HasInterval
) -> tuple[str, str, str, str]:
    values = (format_value(before), format_value(after), format_value(change, signed=True))
    return (*values, format_interval(interval))


def _table(first: str, *others: str) -> Table:
    table = Table(first)
    table.figures(*others)
    return table
