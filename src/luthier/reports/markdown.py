"""The report as Markdown, for a pull request or a lab notebook.

Text from models and data is escaped, so that it is shown literally and cannot become a link or
HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from luthier.core.terminal import printable
from luthier.records.ladder import LadderRecord
from luthier.reports.benchmarks import Benchmarked, asked_lines, suite_rows
from luthier.reports.classes import (
    CLASS_HEADINGS,
    ClassRow,
    class_rows,
    mistakes_text,
    trust_lines,
)
from luthier.reports.content import Content
from luthier.reports.examples import Examples, SideBySide, collect_examples
from luthier.reports.facts import FactGroup, measurement_facts, training_facts
from luthier.reports.overview import main_facts, overview
from luthier.reports.rows import LadderRow, gains_note, ladder_rows, metric_rows

_NUM_EXAMPLES = 3
_CLASSES_SHOWN = 12
"""Number of evaluations whose results by class are shown."""
# Characters with a meaning anywhere, list markers at the start of a line, and parts of bare URLs.
_SPECIAL = re.compile(r"([\\`*_\[\]#!|~$]|^[-+]|:(?=//)|(?<=\bwww)\.)", re.IGNORECASE)


def render_markdown(content: Content) -> str:
    """The complete document. Equal contents give equal text."""
    lines = list(_top(content))
    if content.ladder:
        lines += ["", "## The ladder", "", *_ladder(content.ladder)]
    if any(system.suites for system in content.systems):
        lines += ["", "## Suites", "", *_suites(content)]
    lines += ["", "## Metrics", "", *_metrics(content)]
    lines += _classes(content)
    if notes := asked_lines(content.records_by_system):
        lines += ["", *(f"- {escape_markdown(note)}" for note in notes)]
    trained = [(system.name, system.training) for system in content.systems if system.training]
    if trained:
        lines += ["", "## Training"]
    for name, training in trained:
        lines += ["", *_facts(FactGroup(name, training_facts(training).facts))]
    examples = collect_examples(content)
    if examples.rows:
        lines += ["", "## Examples", *_examples(examples)]
    lines += ["", "## How it was measured"]
    for group in measurement_facts(content):
        lines += ["", *_facts(group)]
    lines += ["", "## Files", "", *_files(content)]
    return "\n".join(lines) + "\n"


def _top(content: Content) -> Iterator[str]:
    """Headline, main facts, warnings, and the result with its reasons."""
    main = overview(content)
    yield f"# {escape_markdown(main.headline)}"
    if facts := main_facts(content):
        told = " · ".join(f"{escape_markdown(label)}: {escape_markdown(v)}" for label, v in facts)
        yield from ("", told)
    if main.warnings:
        yield from ("", "**Before you rely on it:**", "")
        yield from (f"- {escape_markdown(warning)}" for warning in main.warnings)
    if main.sentence:
        yield from ("", escape_markdown(main.sentence))
    if main.reasons:
        yield ""
        yield from (f"- {escape_markdown(reason)}" for reason in main.reasons)


def _files(content: Content) -> Iterator[str]:
    """The files with the rest."""
    yield "- report.html: all answers side by side, plots, and lines to copy that use the model"
    if content.config:
        yield "- config.yaml: all settings; running it again repeats the run"
    if content.manifest:
        yield "- manifest.json: versions, hardware, seeds, and hashes of data, template and model"


def escape_markdown(text: str) -> str:
    """The text on one line, with Markdown and HTML escaped."""
    flat = printable(" ".join(text.split()))
    plain = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", plain)


def _ladder(ladder: LadderRecord) -> Iterator[str]:
    headings = (
        "rung", ladder.metric, "gain", "forgetting (nats/token)",
        "trained", "artifact", "peak memory", "time",
    )  # fmt: skip
    yield from table_lines(headings, map(_ladder_cells, ladder_rows(ladder)))
    yield ""
    yield escape_markdown(gains_note(ladder))


def _ladder_cells(row: LadderRow) -> Sequence[str]:
    remarks = ("recommended" if row.recommended else "", row.remark)
    name = " ".join((row.name, *(f"({remark})" for remark in remarks if remark)))
    if not row.is_done:
        return name, f"{row.status}: {row.reason}", "", "", "", "", "", ""
    gain = row.gain
    if row.p:
        gain = f"{row.gain} {row.gain_interval} over {row.baseline}, {row.p}"
    forgetting = f"{row.forgetting} {row.forgetting_interval}"
    metric = f"{row.metric} {row.interval}"
    return name, metric, gain, forgetting, row.trained, row.artifact, row.memory, row.time


def _metrics(content: Content) -> Iterator[str]:
    rows = (
        (row.system, row.task, row.shots, row.metric, f"{row.value} {row.interval}", row.n)
        for system in content.systems
        for row in metric_rows(system.name, (each.record for each in system.measured))
    )
    yield from table_lines(("system", "task", "shots", "metric", "value and interval", "n"), rows)


def _classes(content: Content) -> Iterator[str]:
    shown = [
        (system.name, measured.record)
        for system in content.systems
        for measured in system.measured
        if measured.record.by_class or measured.record.reliability
    ]
    for name, record in shown[:_CLASSES_SHOWN]:
        yield from ("", f"### By class: {escape_markdown(f'{name}, {record.task}')}", "")
        mistakes = ""
        if record.by_class:
            yield from table_lines(CLASS_HEADINGS, map(_class_cells, class_rows(record.by_class)))
            yield ""
            mistakes = mistakes_text(record.by_class)
        for line in filter(None, (mistakes, *trust_lines(record))):
            yield f"- {escape_markdown(line)}"


def _class_cells(row: ClassRow) -> Sequence[str]:
    return row.label, row.n, row.predicted, *(" ".join(cell).strip() for cell in row.shares)


def _suites(content: Content) -> Iterator[str]:
    systems = [Benchmarked(system.name, (), system.suites) for system in content.systems]
    headings = ("suite", "format", "shots", "n", *(system.name for system in systems))
    rows = (
        (row.task, row.format, row.shots, row.n, *(f"{value} {i}" for value, i in row.cells))
        for row in suite_rows(systems)
    )
    yield from table_lines(headings, rows)


def _facts(group: FactGroup) -> Iterator[str]:
    yield f"### {escape_markdown(group.title)}"
    yield ""
    for label, value in group.facts:
        yield f"- {escape_markdown(label)}: {escape_markdown(value)}"


def _examples(examples: Examples) -> Iterator[str]:
    for row in examples.first(_NUM_EXAMPLES):
        yield from ("", f"### {row.number}: {escape_markdown(row.id)}", "")
        for message in row.prompts[0].messages:
            yield from (f"{escape_markdown(message.role)}:", "", *fenced(message.text, "text"), "")
        yield from table_lines(("answer by", "text", "score"), _answers(row, examples.systems))


def _answers(row: SideBySide, systems: Sequence[str]) -> Iterator[Sequence[str]]:
    for reference in row.references:
        yield "reference", reference, ""
    for name, output in zip(systems, row.outputs, strict=True):
        if output:
            score = "" if output.score is None else f"{output.score:.3f}"
            yield name, output.text, score if output.right is None else "✗✓"[output.right]


def table_lines(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table with escaped cells."""
    yield _table_line(headings)
    yield "|" + "---|" * len(headings)
    for row in rows:
        yield _table_line(row)


def _table_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(escape_markdown, cells)) + " |"


def fenced(text: str, language: str) -> list[str]:
    """A code block whose fence is longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}{language}", printable(text).rstrip("\n"), fence]
