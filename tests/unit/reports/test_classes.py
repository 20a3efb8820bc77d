"""Results by class, the confusion matrix, calibration and abstention, as they are shown."""

from __future__ import annotations

import io
import random
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from html.parser import HTMLParser

import pytest
from rich.console import Console
from rich.table import Table

from luthier.evaluation.abstention import abstention
from luthier.evaluation.class_report import class_report
from luthier.evaluation.reliability import reliability
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.records.classes import ClassReport, Reliability
from luthier.records.evaluation import EvaluationRecord, SampleRecord
from luthier.records.run_directory import RunDirectory
from luthier.reports import write_report
from luthier.reports.classes import (
    abstention_table,
    abstention_text,
    class_rows,
    class_table,
    confusion_rows,
    mistakes_text,
    reliability_text,
)
from luthier.reports.html import class_table_html, confusion_html
from luthier.reports.plots import reliability_plot

RESAMPLING = Resampling(0, 100, 0.95)
HOSTILE = ("<script>alert(1)</script>", '" onload="x', "[red]a|b[/red]", "\x1b[31mred", "数 & 3")
PLAIN = ("billing", "account and access", "shipping", "technical", "none at all")


def samples(labels: Sequence[str], n: int = 80) -> list[SampleRecord]:
    draw = random.Random(2)
    found = []
    for number in range(n):
        true = draw.choice(labels[:-1])
        said = true if draw.random() < 0.6 else draw.choice([*labels, "?"])
        best = said if said in labels else labels[0]
        scores = tuple(2.0 if label == best else draw.uniform(-3, 1) for label in labels)
        found.append(
            SampleRecord(
                id=str(number), prompt="", prediction=said, references=(true,),
                choices=tuple(labels), scores={}, finish="stop", words=tuple(labels),
                likelihoods=scores,
            )
        )  # fmt: skip
    return found


def report_of(labels: Sequence[str]) -> ClassReport:
    report = class_report(samples(labels), RESAMPLING)
    assert report is not None
    return report


def trusted() -> Reliability:
    answered = [sample for sample in samples(PLAIN) if sample.prediction in PLAIN]
    found = reliability(answered, RESAMPLING)
    assert found is not None
    return found


def shown(table: Table, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(table)
    return out.getvalue()


@pytest.mark.parametrize("labels", [PLAIN, HOSTILE, ("yes", "no")], ids=["plain", "odd", "two"])
def test_the_table_fits_80_columns_with_every_figure(labels: tuple[str, ...]) -> None:
    report = report_of(labels)
    text = shown(class_table(report))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for result in report.classes:
        if result.n and result.predicted:
            assert f"{result.f1.value:.3f}" in text
            assert f"[{result.recall.low:.3f}, {result.recall.high:.3f}]" in text


def test_the_worst_class_is_first_and_one_without_examples_last() -> None:
    rows = class_rows(report_of(PLAIN))
    values = [float(row.f1[0]) for row in rows[:-1]]
    assert values == sorted(values)
    assert rows[-1].label == "none at all"
    assert rows[-1].recall == ("–", "")


def test_mistakes_are_counted_in_words() -> None:
    answered = samples(("yes", "no"), 1)
    (one,) = (answered[0].model_copy(update={"prediction": "yes", "references": ("yes",)}),)
    wrong = one.model_copy(update={"prediction": "no"})
    none = one.model_copy(update={"prediction": "?"})
    report = class_report([one, wrong, wrong, none], RESAMPLING)
    assert report is not None
    assert mistakes_text(report) == (
        "Most frequent mistakes: 2 of 4 'yes' answered 'no'; 1 of 4 'yes' answered none of them."
    )
    right = class_report([one, one], RESAMPLING)
    assert right is not None
    assert not mistakes_text(right)


class Cells(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert {name for name, _ in attrs} <= {
            "class", "scope", "style", "role", "aria-label", "tabindex",
        }  # fmt: skip

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


@pytest.mark.parametrize("labels", [PLAIN, HOSTILE], ids=["plain", "hostile"])
def test_html_has_every_cell_and_runs_nothing(labels: tuple[str, ...]) -> None:
    report = report_of(labels)
    matrix, table = Cells(confusion_html(report)), Cells(class_table_html(report))
    for page in (matrix, table):
        assert set(page.tags) <= {
            "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "span", "small",
        }  # fmt: skip
        assert "\x1b" not in "".join(page.words)
    counts = [str(count) for row in report.confusion for count in row]
    assert [word for word in matrix.words if word.isdigit()] == counts
    assert "none of them" in matrix.words
    for label in labels:
        spelled = label.replace("\x1b", r"\x1b")
        assert spelled in matrix.words
        assert spelled in table.words


def test_a_cell_is_coloured_by_its_share_of_the_row() -> None:
    report = report_of(PLAIN)
    shares = [float(share) for share in re.findall(r"--share: ([\d.]+)", confusion_html(report))]
    rows = confusion_rows(report)
    assert shares == pytest.approx([cell.share for _, row in rows for cell in row], abs=5e-4)
    for result, (_, row) in zip(report.classes, rows, strict=True):
        assert sum(cell.share for cell in row) == pytest.approx(1 if result.n else 0)
    assert confusion_html(report).count('class="right"') == len(PLAIN)


def test_the_reliability_plot_describes_its_bins_in_the_pages_colours() -> None:
    found = trusted()
    plot = reliability_plot("<run> & co", found)
    root = ET.fromstring(plot.svg)
    text = "".join(root.itertext())
    for each in found.bins:
        assert (f"n {each.n}" in text) or not each.n
    assert "#04" not in plot.svg
    assert "#01" not in plot.svg
    assert plot == reliability_plot("<run> & co", found)


def test_calibration_and_abstention_in_words() -> None:
    found = trusted()
    text = reliability_text(found)
    assert f"{found.ece.value:.3f}" in text
    assert "the mean confidence is" in text
    answered = [sample for sample in samples(PLAIN) if sample.prediction in PLAIN]
    chosen = abstention(answered, 0.85, RESAMPLING)
    assert f"at least 0.85 the model answers {chosen.coverage.value:.3f}" in abstention_text(chosen)
    never = abstention(answered, 0.9999, RESAMPLING)
    assert abstention_text(never).endswith("the model answers nothing.")
    lines = shown(abstention_table(found, chosen)).splitlines()
    assert max(map(len, lines)) <= 80
    firsts = [line.split()[0] for line in lines if line.startswith("0.")]
    assert firsts == ["0.5", "0.6", "0.7", "0.8", "0.85", "0.9", "0.95", "0.99"]


def test_a_report_shows_them(tune_run: RunDirectory) -> None:
    path = tune_run.evaluation("python-docstrings")
    stored = EvaluationRecord.read(path)
    details = {"by_class": report_of(HOSTILE), "reliability": trusted()}
    stored.model_copy(update=details).write(path)
    html, markdown = (each.read_text(encoding="utf-8") for each in write_report(tune_run))
    assert 'id="classes"' in html
    assert 'class="confusion"' in html
    assert "Reliability of" in html
    assert "<script>alert" not in html
    assert "### By class: " in markdown
    assert "| class | n | answers |" in markdown
    assert "Calibration error" in markdown
    assert "<script>" not in markdown
