"""Results by class, calibration and abstention as text, for terminals and reports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from luthier.core.names import named
from luthier.core.tables import Table
from luthier.core.terminal import Text
from luthier.core.units import counted
from luthier.records.base import Estimate
from luthier.records.classes import Abstention, ClassReport, ClassResult, Reliability
from luthier.records.evaluation import EvaluationRecord
from luthier.reports.format import (
    ABSENT,
    format_estimate,
    format_interval,
    format_value,
)

NONE_OF_THEM = "none of them"
"""The column of answers that name no class."""
CLASS_HEADINGS = ("class", "n", "answers", "precision", "recall", "F1")
_MISTAKES_SHOWN = 3

Cell = tuple[str, str]
"""A value and its interval."""


@dataclass(frozen=True, slots=True)
class ClassRow:
    """The results of a class as text."""

    label: str
    n: str
    predicted: str
    precision: Cell
    recall: Cell
    f1: Cell

    @property
    def shares(self) -> tuple[Cell, Cell, Cell]:
        """Precision, recall and F1."""
        return self.precision, self.recall, self.f1


@dataclass(frozen=True, slots=True)
class ConfusionCell:
    """A cell of the confusion matrix.

    Attributes:
        count: the number of examples.
        share: their share in the examples of the class.
        is_right: whether the answer is the class.
    """

    count: int
    share: float
    is_right: bool


def class_rows(report: ClassReport) -> list[ClassRow]:
    """A row for each class: the lowest F1 first, then the larger class; empty ones last."""
    ordered = sorted(report.classes, key=lambda each: (not each.n, each.f1.value, -each.n))
    return [_class_row(result) for result in ordered]


def confusion_rows(report: ClassReport) -> list[tuple[str, list[ConfusionCell]]]:
    """Each class with its row of the confusion matrix."""
    return [
        (
            result.label,
            [
                ConfusionCell(count, count / result.n if result.n else 0.0, place == own)
                for place, count in enumerate(row)
            ],
        )
        for own, (result, row) in enumerate(zip(report.classes, report.confusion, strict=True))
    ]


def mistakes_text(report: ClassReport) -> str:
    """The most frequent mistakes in a sentence; empty if there are none."""
    said = (*map(named, report.labels), NONE_OF_THEM)
    found = sorted(
        (-cell.count, place, own)
        for own, (_, row) in enumerate(confusion_rows(report))
        for place, cell in enumerate(row)
        if cell.count and not cell.is_right
    )
    if not found:
        return ""
    shown = (
        f"{-count} of {report.classes[own].n} {said[own]} answered {said[place]}"
        for count, place, own in found[:_MISTAKES_SHOWN]
    )
    return f"Most frequent mistakes: {'; '.join(shown)}."


def class_table(report: ClassReport) -> Table:
    """The results by class for a terminal of 80 columns."""
    table = Table()
    table.prose("class")
    table.figures("n", "answers", *(f"{name}\ninterval" for name in CLASS_HEADINGS[3:]))
    for row in class_rows(report):
        table.add_row(row.label, row.n, row.predicted, *map(_two_lines, row.shares))
    notes = ["The lowest F1 is first.", mistakes_text(report)]
    if report.unread:
        notes.append(f"{counted(report.unread, 'answer')} of the model named no class.")
    table.explain(" ".join(filter(None, notes)))
    return table


def reliability_text(reliability: Reliability) -> str:
    """Calibration in a sentence: its error, and the mean confidence beside the accuracy."""
    total = sum(each.n for each in reliability.bins)
    sure = sum(each.n * each.confidence for each in reliability.bins) / total
    right = sum(each.n * each.accuracy for each in reliability.bins) / total
    tends = "more" if sure > right else "less"
    return (
        f"Calibration error {_with_interval(reliability.ece)}: the mean confidence is "
        f"{format_value(sure)}, {tends} than the accuracy of {format_value(right)}."
    )


def abstention_text(abstention: Abstention) -> str:
    """Coverage and accuracy at a threshold in a sentence."""
    start = f"With a confidence of at least {abstention.threshold:g}"
    if not abstention.coverage.value:
        return f"{start} the model answers nothing."
    return (
        f"{start} the model answers {_with_interval(abstention.coverage)} of the examples, of "
        f"which {_with_interval(abstention.accuracy)} are right."
    )


def abstention_table(reliability: Reliability, chosen: Abstention | None = None) -> Table:
    """Coverage and accuracy by threshold, with the chosen threshold among them.

    Args:
        reliability: the usual thresholds.
        chosen: the threshold that the user named, shown in bold.
    """
    points = {point.threshold: point for point in reliability.abstention}
    if chosen:
        points[chosen.threshold] = chosen
    table = Table("confidence of at least")
    table.figures("coverage", "interval", "accuracy", "interval")
    for threshold, point in sorted(points.items()):
        style = "bold" if chosen and threshold == chosen.threshold else ""
        accuracy = _cell(point.accuracy) if point.coverage.value else (ABSENT, "")
        cells = (f"{threshold:g}", *_cell(point.coverage), *accuracy)
        table.add_row(*(Text(cell, style=style) for cell in cells))
    table.explain("Coverage is the share that is answered, accuracy the share right among these.")
    return table


def trust_lines(record: EvaluationRecord) -> Iterator[str]:
    """Calibration, and abstention if the user named a threshold, a sentence each."""
    if record.reliability:
        yield reliability_text(record.reliability)
    if record.abstention:
        yield abstention_text(record.abstention)


def abstention_lines(
    records_by_system: Iterable[tuple[str, Sequence[EvaluationRecord]]],
) -> Iterator[str]:
    """Abstention of each system on each task, a sentence each."""
    for system, records in records_by_system:
        for record in records:
            if record.abstention:
                yield f"{system}, {record.task}: {abstention_text(record.abstention)}"


def _class_row(result: ClassResult) -> ClassRow:
    return ClassRow(
        label=result.label,
        n=f"{result.n:,}",
        predicted=f"{result.predicted:,}",
        precision=_share_of(result.predicted, result.precision),
        recall=_share_of(result.n, result.recall),
        f1=_share_of(result.predicted + result.n, result.f1),
    )


def _share_of(count: int, estimate: Estimate) -> Cell:
    """The cell of a share; of nothing it is undefined."""
    return _cell(estimate) if count else (ABSENT, "")


def _cell(estimate: Estimate) -> Cell:
    return format_estimate(estimate), format_interval(estimate)


def _two_lines(cell: Cell) -> Text:
    value, interval = cell
    return Text(value).append(f"\n{interval}", style="dim") if interval else Text(value)


def _with_interval(estimate: Estimate) -> str:
    return " ".join(filter(None, (format_estimate(estimate), format_interval(estimate))))
