"""The report as one self-contained HTML file without network requests.

Its content comes from models, data and configurations, so none of it is trusted. The template
engine escapes text, control characters are shown as escapes, examples are embedded as JSON and
shown as text only, and a content security policy allows only the page's own script, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from luthier.core.terminal import printable
from luthier.records.classes import ClassReport
from luthier.reports.benchmarks import Benchmarked, asked_lines, suite_rows
from luthier.reports.classes import (
    CLASS_HEADINGS,
    NONE_OF_THEM,
    class_rows,
    confusion_rows,
    mistakes_text,
    trust_lines,
)
from luthier.reports.comparisons import caption, comparison_rows
from luthier.reports.content import Content
from luthier.reports.examples import collect_examples
from luthier.reports.facts import manifest_facts, measurement_facts, training_facts
from luthier.reports.metric_words import MetricWords, words_of
from luthier.reports.overview import main_facts, overview
from luthier.reports.plots import Plot, ladder_plots, loss_plot, reliability_plot
from luthier.reports.rows import gains_note, ladder_rows, metric_rows
from luthier.reports.use_model import use_snippets

_TEMPLATES = Path(__file__).parent / "templates"
STATIC_EXAMPLES = 10
_SCRIPTS = ("page.js", "examples.js")
_METRICS_SHOWN = 40
"""Number of rows up to which a table is shown expanded."""
_METRICS_NAMED = 4
"""Number of metrics explained in words."""
_CLASSES_SHOWN = 12
"""Number of evaluations whose results by class are shown."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The results by class of an evaluation, and the reliability of its probabilities.

    Attributes:
        title: the system, and the task.
        is_chosen: whether it is the recommended system.
        table: the results by class; empty if there are none.
        matrix: the confusion matrix; empty if there is none.
        lines: mistakes, calibration and abstention, a sentence each.
        plot: the reliability plot, if probabilities are known.
    """

    title: str
    is_chosen: bool
    table: Markup
    matrix: Markup
    lines: tuple[str, ...]
    plot: Plot | None


def render_html(content: Content) -> str:
    """The complete page. Equal contents give equal bytes."""
    ladder = content.ladder
    compared = content.compared
    chosen = content.recommended
    examples = collect_examples(content)
    script = "".join(map(_asset, _SCRIPTS))
    metrics = [
        row
        for system in content.systems
        for row in metric_rows(system.name, (each.record for each in system.measured))
    ]
    suites = [Benchmarked(system.name, (), system.suites) for system in content.systems]
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            content=content,
            overview=overview(content),
            main_facts=main_facts(content),
            deciding=list(_deciding(content)),
            ladder_rows=ladder_rows(ladder) if ladder else (),
            gains_note=gains_note(ladder) if ladder else "",
            comparison_rows=comparison_rows(compared) if compared else (),
            comparison_caption=caption(compared) if compared else "",
            suite_rows=suite_rows(suites),
            asked_lines=asked_lines(content.records_by_system),
            metric_rows=metrics,
            by_class=sorted(_answered(content), key=lambda each: not each.is_chosen)[
                :_CLASSES_SHOWN
            ],
            metrics_open=not ladder and not compared and len(metrics) <= _METRICS_SHOWN,
            plots=ladder_plots(ladder) if ladder else [],
            loss=loss_plot(
                {system.name: system.curve for system in content.systems},
                chosen.name if chosen else None,
            ),
            tuned=[
                (system.name, training_facts(system.training))
                for system in content.systems
                if system.training
            ],
            snippets=use_snippets(content),
            fact_groups=measurement_facts(content),
            manifest=manifest_facts(content),
            examples=examples,
            static_examples=STATIC_EXAMPLES,
            style=_asset("report.css"),
            script=script,
            script_hash=_hash_source(script),
        )
    )


def class_table_html(report: ClassReport) -> Markup:
    """The results by class as an HTML table, the lowest F1 first; texts are escaped."""
    return _macro("class_table", CLASS_HEADINGS, class_rows(report))


def confusion_html(report: ClassReport) -> Markup:
    """The confusion matrix as an HTML table with coloured cells; texts are escaped."""
    return _macro("confusion", confusion_rows(report), (*report.labels, NONE_OF_THEM))


def _macro(name: str, *values: object) -> Markup:
    """The markup of a macro of ``classes.html.j2``."""
    made: Markup = getattr(_environment().get_template("classes.html.j2").module, name)(*values)
    return made


def _deciding(content: Content) -> Iterator[tuple[MetricWords, str, bool]]:
    """The deciding metric of a ladder or the first of each task: words, signature, direction."""
    wanted = content.ladder.metric if content.ladder else None
    found = {
        metric.name: metric
        for record in content.records
        for metric in (record.metrics if wanted else record.metrics[:1])
        if wanted in (None, metric.name)
    }
    for name, metric in list(found.items())[:_METRICS_NAMED]:
        yield words_of(name), metric.signature, metric.higher_is_better


def _answered(content: Content) -> Iterator[Answered]:
    for system in content.systems:
        for measured in system.measured:
            report, trusted = measured.record.by_class, measured.record.reliability
            if report is None and trusted is None:
                continue
            title = f"{system.name}, {measured.record.task}"
            mistakes = [text] if report and (text := mistakes_text(report)) else []
            yield Answered(
                title=title,
                is_chosen=system is content.recommended,
                table=class_table_html(report) if report else Markup(),
                matrix=confusion_html(report) if report else Markup(),
                lines=(*mistakes, *trust_lines(measured.record)),
                plot=reliability_plot(title, trusted) if trusted else None,
            )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    # `tojson` escapes <, > and & so that a text cannot end its data block.
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    return environment


def _shown(value: object) -> object:
    """A text without control characters; markup, numbers and other values unchanged."""
    return printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _asset(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _hash_source(script: str) -> str:
    """The source expression of an inline script (Content Security Policy Level 3, 2.3.1)."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
