"""Side-by-side comparison of runs with the first run, and the examples where they differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from luthier.core.tables import Table
from luthier.core.terminal import Text
from luthier.records.comparison import (
    Comparison,
    DifferentItem,
    RunComparison,
    SuiteComparison,
    TaskComparison,
)
from luthier.records.evaluation import MetricResult
from luthier.reports.excerpts import common_ending, prompt_end
from luthier.reports.format import ABSENT, digits_of, format_interval, format_value
from luthier.reports.rows import detectable_text, estimate_texts, gain_texts

ALPHA = 0.05
"""The significance level of differences."""
_LINE = 160


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One run compared with the first on one task or suite.

    Attributes:
        items: numbers of examples with better and worse scores than the first run; empty for a
            suite.
        is_real: whether the difference is significant after correction.
    """

    task: str
    metric: str
    n: str
    baseline: str
    baseline_interval: str
    run: str
    value: str
    interval: str
    difference: str
    difference_interval: str
    p: str
    items: str
    is_real: bool


def comparison_rows(comparison: RunComparison) -> list[ComparisonRow]:
    """The rows of suites, then of tasks; each for every run except the first."""
    rows = [row for suite in comparison.suites for row in _suite_rows(comparison.names, suite)]
    return rows + [row for task in comparison.tasks for row in _task_rows(comparison.names, task)]


def comparison_table(comparison: RunComparison) -> Table:
    """A row per task and run except the first, two lines high to fit into 80 columns."""
    table = Table("task\nmetric", "run")
    table.figures("value and interval", "difference\ninterval", "better\nworse", "p (two-sided)\nn")
    for row in comparison_rows(comparison):
        style = "green" if row.is_real else ""
        table.add_row(
            Text(f"{row.task}\n{row.metric}"),
            Text(f"{comparison.names[0]}\n{row.run}"),
            Text(f"{row.baseline} {row.baseline_interval}\n{row.value} {row.interval}"),
            Text(row.difference, style=style).append(f"\n{row.difference_interval}", "dim"),
            Text("\n".join(row.items.split(" / "))),
            Text(f"{row.p or ABSENT}\n{row.n}"),
        )
    table.explain(caption(comparison))
    return table


def caption(comparison: RunComparison) -> str:
    """The explanation below the table."""
    first = comparison.names[0]
    text = f"Differences are from {first}, on the same examples."
    tests = [one for task in comparison.tasks for one in task.comparisons]
    of_suites = sum(len(suite.comparisons) for suite in comparison.suites)
    text += " p is two-sided, for any difference"
    if len(tests) > 1:
        both = f" of tasks, and for {of_suites} of suites" if of_suites else ""
        text += f", and corrected for {len(tests)} comparisons{both} (Holm)"
    text += "."
    if comparison.of_ladder:
        text += (
            f" The p of the ladder {comparison.of_ladder} is a different test: it is "
            "one-sided, for a gain, and corrected for all pairs of rungs."
        )
    if len(comparison.tasks) == 1:
        least = max((one.detectable or 0.0 for one in tests), default=0.0)
        text += (
            f" {detectable_text(tests[0].n, comparison.tasks[0].metric, least)}" if least else ""
        )
    return text


def comparison_sentence(comparison: RunComparison) -> str:
    """The outcome as a sentence."""
    sentences = []
    for place, name in enumerate(comparison.names[1:]):
        real = [task for task in comparison.tasks if task.comparisons[place].p_adjusted <= ALPHA]
        better = sum(_is_better(task, task.comparisons[place]) for task in real)
        sentences.append(_verdict(name, comparison, place, better, len(real) - better))
    return " ".join(sentences)


def different_items(comparison: RunComparison) -> Iterator[Text | Table]:
    """The listed examples on which runs differ, with a heading for each task."""
    for task in comparison.tasks:
        if task.items:
            yield Text(f"\n{task.task}: where {task.metric} differs", style="bold")
        ending = common_ending(item.prompt for item in task.items)
        for item in task.items:
            yield Text(f"\n{item.id}", style="cyan")
            yield _item(comparison.names, item, ending)


def _suite_rows(names: Sequence[str], suite: SuiteComparison) -> Iterator[ComparisonRow]:
    for name, other, apart in zip(names[1:], suite.results[1:], suite.comparisons, strict=True):
        yield _row((suite.suite, "score"), suite.results[0], name, other, apart)


def _task_rows(names: Sequence[str], task: TaskComparison) -> Iterator[ComparisonRow]:
    counts = zip(task.better, task.worse, strict=True)
    for name, other, apart, (better, worse) in zip(
        names[1:], task.results[1:], task.comparisons, counts, strict=True
    ):
        items = f"{better:,} / {worse:,}"
        yield _row((task.task, task.metric), task.results[0], name, other, apart, items)


def _row(
    what: tuple[str, str],
    first: MetricResult,
    name: str,
    other: MetricResult,
    apart: Comparison,
    items: str = "",
) -> ComparisonRow:
    difference, p = gain_texts(apart, digits_of(other))
    return ComparisonRow(
        *what, f"{apart.n:,}", *estimate_texts(first), name, *estimate_texts(other), difference,
        format_interval(apart, digits=digits_of(other), signed=True), p,
        items, apart.p_adjusted <= ALPHA,
    )  # fmt: skip


def _is_better(task: TaskComparison, apart: Comparison) -> bool:
    return (apart.difference > 0) == task.results[0].higher_is_better


def _verdict(name: str, comparison: RunComparison, place: int, better: int, worse: int) -> str:
    first = comparison.names[0]
    if len(comparison.tasks) > 1:
        total = len(comparison.tasks)
        if not better and not worse:
            return f"No clear difference between {name} and {first} on any of {total} tasks."
        unclear = total - better - worse
        return (
            f"Of {total} tasks {name} is better than {first} on {better} and worse on {worse}; "
            f"on {unclear} the difference may be chance."
        )
    (task,) = comparison.tasks
    difference, p = gain_texts(task.comparisons[place], digits_of(task.results[0]))
    verdict = (
        f"{'better' if better else 'worse'} than {first}"
        if better or worse
        else f"not clearly different from {first}"
    )
    return f"{name} is {verdict} on {task.task}: {difference} in {task.metric} ({p})."


def _item(names: Sequence[str], item: DifferentItem, ending: str) -> Table:
    table = Table(headed=False)
    table.text()
    table.figures("")
    table.prose()
    table.add_row("  asked", "", Text(prompt_end(item.prompt, ending, _LINE), style="dim"))
    for reference in item.references:
        table.add_row("  right", "", Text(_answer(item, reference)))
    for name, answer, score in zip(names, item.answers, item.scores, strict=True):
        table.add_row(Text(f"  {name}"), format_value(score), Text(_answer(item, answer)))
    return table


def _answer(item: DifferentItem, answer: str) -> str:
    """An answer on one line; a label with its wording."""
    words = item.words.get(answer, answer)
    shown = _line(answer) or "(empty)"
    return shown if words.strip() == answer.strip() else f"{shown} ({_line(words)})"


def _line(text: str) -> str:
    """The start of a text, on one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _LINE else f"{flat[:_LINE]} …"
