"""The table of benchmark tasks: a row for each figure, a column for each model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from luthier.core.records import EvaluationRecord, MetricResult, SuiteRecord
from luthier.report.format import ABSENT
from luthier.report.rows import estimate_texts


@dataclass(frozen=True, slots=True)
class Benchmarked:
    """A model or run, and what was measured of it."""

    name: str
    evaluations: tuple[EvaluationRecord, ...]
    suites: tuple[SuiteRecord, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    """What names a figure: the same in every system."""

    task: str
    metric: str
    format: str
    shots: str


def benchmark_table(systems: Sequence[Benchmarked]) -> Table:
    """Scores of suites, then every metric of every task, each with its interval."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for heading in ("task", "metric", "format"):
        table.add_column(heading, overflow="fold")
    table.add_column("shots", justify="right")
    table.add_column("n", justify="right")
    for system in systems:
        table.add_column(system.name, justify="right", overflow="fold")
    figures = [dict(_rows(system)) for system in systems]
    for row in dict.fromkeys(row for figure in figures for row in figure):
        results = [figure.get(row) for figure in figures]
        n = next(result.n for result in results if result)
        cells = (row.task, row.metric, row.format, row.shots, f"{n:,}")
        table.add_row(*map(Text, cells), *map(_estimate, results))
    return table


def label_lines(systems: Sequence[Benchmarked]) -> list[str]:
    """For each task with labels, a line that says which words stood for each of them."""
    mappings: Mapping[str, dict[str, str]] = {
        record.task: record.labels
        for system in systems
        for record in system.evaluations
        if record.labels
    }
    by_mapping: dict[str, list[str]] = {}
    for task, labels in mappings.items():
        words = ", ".join(f"{label} = {text!r}" for label, text in labels.items())
        by_mapping.setdefault(words, []).append(task)
    return [f"{_listed(tasks)}: {words}" for words, tasks in by_mapping.items()]


def _rows(system: Benchmarked) -> Iterable[tuple[_Row, MetricResult]]:
    for suite in system.suites:
        total = len(suite.tasks) + len(suite.missing)
        part = f" ({len(suite.tasks)} of {total} tasks)" if suite.missing else ""
        shots = ", ".join(map(str, suite.shots))
        for score in suite.scores:
            whole = score.name == suite.suite
            yield _Row(score.name + (part if whole else ""), "score", suite.format, shots), score
    for record in system.evaluations:
        for metric in record.metrics:
            yield _Row(record.task, metric.name, record.format, str(record.shots)), metric


def _estimate(result: MetricResult | None) -> Text:
    if result is None:
        return Text(ABSENT)
    value, interval = estimate_texts(result)
    return Text(value).append(f" {interval}", style="dim")


def _listed(tasks: Sequence[str]) -> str:
    return ", ".join(tasks) if len(tasks) < 4 else f"{tasks[0]} and {len(tasks) - 1} more"
