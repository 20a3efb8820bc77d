"""The table of benchmark tasks: a row for each figure, a column for each model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from rich.text import Text

from luthier.core.records import EvaluationRecord, MetricResult, SuiteRecord
from luthier.core.tables import Table
from luthier.report.rows import estimate_texts


@dataclass(frozen=True, slots=True)
class Benchmarked:
    """A model or run, and what was measured of it."""

    name: str
    evaluations: tuple[EvaluationRecord, ...]
    suites: tuple[SuiteRecord, ...]


@dataclass(frozen=True, slots=True)
class _Figure:
    """What names a figure: the same in every system."""

    task: str
    metric: str
    format: str
    shots: str


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """A figure of every system.

    Attributes:
        cells: value and interval, one a system; a dash and nothing where it has none.
    """

    task: str
    metric: str
    format: str
    shots: str
    n: str
    cells: tuple[tuple[str, str], ...]


def suite_rows(systems: Sequence[Benchmarked]) -> list[BenchmarkRow]:
    """The scores of suites and of their categories."""
    return _joined([dict(_suite_figures(system)) for system in systems])


def task_rows(systems: Sequence[Benchmarked]) -> list[BenchmarkRow]:
    """Every metric of every task."""
    return _joined([dict(_task_figures(system)) for system in systems])


def benchmark_table(systems: Sequence[Benchmarked]) -> Table:
    """Scores of suites, then every metric of every task, each with its interval."""
    table = Table("task", "metric", "format")
    table.figures("shots", "n", *(system.name for system in systems))
    for row in (*suite_rows(systems), *task_rows(systems)):
        named = map(Text, (row.task, row.metric, row.format, row.shots, row.n))
        table.add_row(*named, *(Text(value).append(f" {i}", "dim") for value, i in row.cells))
    return table


def label_lines(records: Iterable[EvaluationRecord]) -> list[str]:
    """For each task with labels, a line that says which words stood for each of them."""
    mappings = {record.task: record.labels for record in records if record.labels}
    by_mapping: dict[str, list[str]] = {}
    for task, labels in mappings.items():
        words = ", ".join(f"{label} = {text!r}" for label, text in labels.items())
        by_mapping.setdefault(words, []).append(task)
    return [f"{_listed(tasks)}: {words}" for words, tasks in by_mapping.items()]


def _suite_figures(system: Benchmarked) -> Iterator[tuple[_Figure, MetricResult]]:
    for suite in system.suites:
        total = len(suite.tasks) + len(suite.missing)
        part = f" ({len(suite.tasks)} of {total} tasks)" if suite.missing else ""
        shots = ", ".join(map(str, suite.shots))
        for score in suite.scores:
            name = score.name + (part if score.name == suite.suite else "")
            yield _Figure(name, "score", suite.format, shots), score


def _task_figures(system: Benchmarked) -> Iterator[tuple[_Figure, MetricResult]]:
    for record in system.evaluations:
        for metric in record.metrics:
            yield _Figure(record.task, metric.name, record.format, str(record.shots)), metric


def _joined(systems: Sequence[Mapping[_Figure, MetricResult]]) -> list[BenchmarkRow]:
    rows = []
    for figure in dict.fromkeys(figure for system in systems for figure in system):
        results = [system.get(figure) for system in systems]
        n = next(result.n for result in results if result)
        cells = tuple(estimate_texts(result) for result in results)
        rows.append(BenchmarkRow(**asdict(figure), n=f"{n:,}", cells=cells))
    return rows


def _listed(tasks: Sequence[str]) -> str:
    return ", ".join(tasks) if len(tasks) < 4 else f"{tasks[0]} and {len(tasks) - 1} more"
