"""The table of benchmark tasks: a row per figure, a column per model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from luthier.core.tables import Table
from luthier.core.terminal import Text
from luthier.records.evaluation import EvaluationRecord, MetricResult, SuiteRecord
from luthier.reports.rows import estimate_texts


@dataclass(frozen=True, slots=True)
class Benchmarked:
    """A model or run, with its evaluations."""

    name: str
    evaluations: tuple[EvaluationRecord, ...]
    suites: tuple[SuiteRecord, ...]


@dataclass(frozen=True, slots=True)
class _Figure:
    """The identity of a figure across systems."""

    task: str
    metric: str
    format: str
    shots: str


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """A figure for every system.

    Attributes:
        cells: value and interval for each system; a dash if it has none.
    """

    task: str
    metric: str
    format: str
    shots: str
    n: str
    cells: tuple[tuple[str, str], ...]


def suite_rows(systems: Sequence[Benchmarked]) -> list[BenchmarkRow]:
    """Rows of the scores of suites and their categories."""
    return _joined([dict(_suite_figures(system)) for system in systems])


def task_rows(systems: Sequence[Benchmarked]) -> list[BenchmarkRow]:
    """Rows of every metric of every task."""
    return _joined([dict(_task_figures(system)) for system in systems])


def benchmark_table(systems: Sequence[Benchmarked]) -> Table:
    """The scores of suites, then every metric of every task, with intervals."""
    table = Table("task", "metric", "format")
    table.figures("shots", "n", *(system.name for system in systems))
    for row in (*suite_rows(systems), *task_rows(systems)):
        named = map(Text, (row.task, row.metric, row.format, row.shots, row.n))
        table.add_row(*named, *(Text(value).append(f" {i}", "dim") for value, i in row.cells))
    return table


def label_lines(records: Iterable[EvaluationRecord]) -> list[str]:
    """The wording of each label, one line per task with labels."""
    mappings = {record.task: record.labels for record in records if record.labels}
    by_mapping: dict[str, list[str]] = {}
    for task, labels in mappings.items():
        words = ", ".join(f"{label} = {text!r}" for label, text in labels.items())
        by_mapping.setdefault(words, []).append(task)
    return [f"{_listed(tasks)}: {words}" for words, tasks in by_mapping.items()]


def asked_lines(systems: Iterable[tuple[str, Iterable[EvaluationRecord]]]) -> list[str]:
    """Notes on subsets of rows, truncated prompts and unfinished answers of tasks.

    Tasks with the same notes share a line. A system is named if there are several and their notes
    differ.

    Args:
        systems: the evaluation records of each model or run, by its name.
    """
    said: dict[str, dict[str, str]] = {}
    for name, records in systems:
        for record in records:
            said.setdefault(record.task, {})[name] = "; ".join(_notes(record))
    by_note: dict[str, list[str]] = {}
    for task, notes in said.items():
        of_all = len(set(notes.values())) == 1
        for name, note in [*notes.items()][: 1 if of_all else None]:
            if note:
                by_note.setdefault(note, []).append(task if of_all else f"{task} by {name}")
    return [f"{_listed(tasks)}: {note}." for note, tasks in by_note.items()]


def _notes(record: EvaluationRecord) -> Iterator[str]:
    """Notes on rows, prompts and answers, with counts."""
    if record.chat_template and record.format:
        yield "asked through the chat template, worked examples as turns"
    if record.drawn:
        yield record.drawn
    for count, one, more in (
        (record.cut_prompts, "prompt was cut", "prompts were cut"),
        (record.other_shots, "question was shown another worked example, being one itself",
         "questions were shown other worked examples, being some themselves"),
        (record.fewer_shots, "question had fewer worked examples, to fit",
         "questions had fewer worked examples, to fit"),
        (record.truncated_outputs, "answer was cut at the limit", "answers were cut at the limit"),
        (record.unfinished, "answer ends before its reasoning does",
         "answers end before their reasoning does"),
    ):  # fmt: skip
        if count:
            yield f"{count:,} {one if count == 1 else more}"


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
