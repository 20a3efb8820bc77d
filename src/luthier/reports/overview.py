"""The top of a report: the result in a sentence, doubts about it, its figures and main facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from luthier.core.units import counted, format_bytes, format_duration
from luthier.records.comparison import RunComparison
from luthier.records.evaluation import MetricResult
from luthier.records.ladder import LadderRecord
from luthier.reports.comparisons import comparison_rows, comparison_sentence
from luthier.reports.content import Content, System
from luthier.reports.headline import ladder_headline, noun_of, result_words
from luthier.reports.metric_words import right_count
from luthier.reports.rows import LadderRow, estimate_texts, ladder_rows

_FIGURES_SHOWN = 6
_MANY_CUT = 0.1
"""The share of cut answers above which a warning stands at the top."""
_FORGETTING = "forgetting, nats per token"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number at the top: label, value and note."""

    label: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class Overview:
    """The main result, for readers who read nothing else.

    Attributes:
        headline: the result in one sentence, without statistics.
        warnings: doubts about the measurements.
        sentence: the result with its statistics; empty if the headline says it all.
    """

    headline: str
    warnings: tuple[str, ...]
    sentence: str
    reasons: tuple[str, ...]
    figures: tuple[Figure, ...]


def overview(content: Content) -> Overview:
    """The recommendation of a ladder, the outcome of a comparison, or a run's main result."""
    if content.ladder:
        return _ladder_overview(content.ladder)
    if content.compared:
        return _comparison_overview(content.compared)
    return _system_overview(content, content.systems[0])


def main_facts(content: Content) -> tuple[tuple[str, str], ...]:
    """Model, data, number of examples, date, hardware and cost, each with its label."""
    manifest = content.manifest
    hardware = _mapping(manifest.get("hardware"))
    facts = (
        ("model", _models(content)),
        ("data", _data(content)),
        ("tested on", _tested(content)),
        ("date", _date(manifest.get("created"))),
        ("hardware", ", ".join(_hardware(hardware))),
        ("time", _time(content)),
    )
    return tuple((label, value) for label, value in facts if value)


def _ladder_overview(ladder: LadderRecord) -> Overview:
    answer = ladder.recommendation
    chosen = [row for row in ladder_rows(ladder) if row.recommended and row.is_done]
    figures = _row_figures(chosen[0], ladder) if chosen else ()
    headline = ladder_headline(ladder)
    return Overview(headline, answer.warnings, answer.sentence, answer.reasons, figures)


def _row_figures(row: LadderRow, ladder: LadderRecord) -> tuple[Figure, ...]:
    figures = [Figure(ladder.metric, row.metric, row.interval)]
    if row.p:
        figures.append(Figure(f"gain over {row.baseline}", row.gain, row.gain_interval))
    if row.forgetting_interval:
        figures.append(Figure(_FORGETTING, row.forgetting, row.forgetting_interval))
    figures.append(Figure("time to tune and measure", row.time, f"peak memory {row.memory}"))
    return tuple(figures)


def _unbroken(text: str) -> str:
    """A text for narrow columns: intervals and p-values without line breaks."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _comparison_overview(compared: RunComparison) -> Overview:
    figures = [
        Figure(
            f"{row.metric}, {row.task}: {row.run}",
            row.difference,
            " ".join(map(_unbroken, filter(None, (row.difference_interval, row.p)))),
        )
        for row in comparison_rows(compared)
    ]
    shown = tuple(figures[:_FIGURES_SHOWN])
    return Overview(comparison_sentence(compared), (), "", (), shown)


def _system_overview(content: Content, system: System) -> Overview:
    results = _main_results(system)
    figures = [
        Figure(f"{metric}, {task}", *estimate_texts(result)) for metric, task, result, _ in results
    ][:_FIGURES_SHOWN]
    headline = f"{system.name} was tuned but not yet evaluated."
    if results:
        metric, task, result, where = results[0]
        model = system.measured[0].record.model.id if system.measured else system.name
        if system.training:
            model = f"{model}, tuned with {system.training.method},"
        if right_count(result) is None:
            value = estimate_texts(result)[0]
            reached = f"reaches {metric} {value} on {task}"
            headline = f"{model} {reached} ({where}, {result.n:,} examples)."
        else:
            headline = f"{model} gets {result_words(result, noun_of(task))} ({task}, {where})."
    if system.forgetting:
        value, interval = estimate_texts(system.forgetting, signed=True)
        figures.append(Figure(_FORGETTING, value, interval))
    if system.training:
        memory = f"peak memory {format_bytes(system.training.peak_memory_bytes)}"
        figures.append(Figure("training time", format_duration(system.training.seconds), memory))
    return Overview(headline, tuple(_doubts(content, system)), "", (), tuple(figures))


def _doubts(content: Content, system: System) -> Iterator[str]:
    """Doubts about a run without a ladder: contamination, and answers that were cut."""
    if content.contamination and content.contamination.examples:
        yield content.contamination.sentence
    for measured in system.measured:
        cut, answers = measured.record.truncated_outputs, len(measured.samples)
        if cut > _MANY_CUT * answers:
            yield (
                f"{measured.record.task}: {cut:,} of {counted(answers, 'answer')} were cut at the "
                "token limit; raise evaluate.max_new_tokens."
            )


def _main_results(system: System) -> list[tuple[str, str, MetricResult, str]]:
    """Metric, task, value and place of the main results: of suites, then of single tasks.

    Tasks that belong to a suite are not listed separately.
    """
    suites = [
        (
            "score",
            suite.suite,
            suite.scores[0],
            f"{len(suite.tasks)} tasks of the format {suite.format}",
        )
        for suite in system.suites
    ]
    parts = {task for suite in system.suites for task in suite.tasks}
    tasks = [
        (record.metrics[0].name, record.task, record.metrics[0], record.split)
        for record in (measured.record for measured in system.measured)
        if record.metrics and record.task not in parts
    ]
    return [*suites, *tasks]


def _models(content: Content) -> str:
    if content.ladder:
        return content.ladder.model.id
    return _first_of([record.model.id for record in content.records])


def _data(content: Content) -> str:
    if content.ladder is None:
        return _first_of([record.task for record in content.records])
    left_out = content.ladder.left_out_examples
    trained = content.ladder.examples.get("train", 0) - left_out
    aside = f" ({left_out:,} more left out)" if left_out else ""
    return f"{content.ladder.task}, {counted(trained, 'training example')}{aside}"


def _tested(content: Content) -> str:
    """The number of measured examples of the first task."""
    record = next(iter(content.records), None)
    if record is None or not record.metrics:
        return ""
    return f"{counted(record.metrics[0].n, 'example')} ({record.split})"


def _date(created: object) -> str:
    """``30 November 2026``; empty if it is no date."""
    try:
        day = datetime.fromisoformat(str(created))
    except ValueError:
        return ""
    return f"{day.day} {day:%B %Y}"


def _hardware(hardware: Mapping[str, Any]) -> Iterator[str]:
    """Name, cores and memory, as far as they are known."""
    name, cores, memory = (hardware.get(key) for key in ("name", "cores", "memory_bytes"))
    if isinstance(name, str):
        yield name
    if isinstance(cores, int):
        yield counted(cores, "core")
    if isinstance(memory, int):
        yield format_bytes(memory)


def _time(content: Content) -> str:
    if content.ladder:
        return f"{format_duration(content.ladder.seconds)} for all rungs"
    seconds = sum(record.seconds for record in content.records)
    seconds += sum(system.training.seconds for system in content.systems if system.training)
    return format_duration(seconds) if seconds else ""


def _first_of(names: list[str]) -> str:
    """The first of several names with the number of the others."""
    distinct = list(dict.fromkeys(names))
    more = len(distinct) - 1
    return "" if not distinct else f"{distinct[0]} and {more} more" if more else distinct[0]


def _mapping(value: object) -> Mapping[str, Any]:
    """A mapping from an untrusted manifest; empty if it is not a mapping."""
    return value if isinstance(value, dict) else {}
