"""A `DataReport` on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import dropwhile

from rich.console import Group, RenderableType

from luthier.core.tables import Table
from luthier.core.terminal import Text
from luthier.core.units import format_count
from luthier.data.inspect import DataReport, Lengths, NearDuplicateCount, ShownText
from luthier.data.problems import ReasonCount

OPEN, CLOSE = "⟦", "⟧"
"""Marks around trained text, so that it is visible without colour."""
_BAR_WIDTH = 40
_MAX_SHOWN = 2000


def render_report(report: DataReport) -> RenderableType:
    """The report as tables and marked text. Content of rows is shown as text, not as markup."""
    parts: list[RenderableType] = [_heading(report), _splits(report)]
    if report.near_duplicates:
        parts += [_near_duplicates(report.near_duplicates)]
    if report.labels:
        counts = [(label.answer, label.count) for label in report.labels]
        parts += [_title("answers in training"), _bars(counts)]
    parts += [_title(_length_title(report.lengths)), _bars(_bin_counts(report.lengths))]
    for title, rows in (("left out", report.left_out), ("cannot be trained on", report.unusable)):
        if rows:
            parts += [_title(title), _left_out(rows)]
    for caveat in report.caveats:
        parts += [Text(f"\nwarning: {caveat}", style="yellow")]
    parts += [_title(f"{report.shown_where}, trained parts in {OPEN} {CLOSE}")]
    parts += [_shown(report.shown)]
    return Group(*parts)


def _heading(report: DataReport) -> Text:
    trained = report.trained_tokens
    facts = [
        f"format {report.format}",
        f"template {report.template.id}",
        f"fingerprint {report.fingerprint}",
        *([f"{format_count(trained)} trained tokens"] if trained is not None else []),
        *([f"up to {report.references} references"] if report.references > 1 else []),
    ]
    return Text.assemble((report.task, "bold cyan"), "\n", " · ".join(facts))


def _title(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _splits(report: DataReport) -> Table:
    table = Table("split")
    table.figures("examples", "groups")
    for part in report.splits:
        table.add_row(part.name, f"{part.examples:,}", f"{part.groups:,}")
    return table


def _near_duplicates(near: NearDuplicateCount) -> Text:
    groups = "1 group" if near.groups == 1 else f"{near.groups:,} groups"
    kept = "" if near.leaked else "; those of a group are in one split"
    return Text(
        f"\n{near.examples:,} examples have near-duplicates, such as {' and '.join(near.pair)}. "
        f"They form {groups}{kept}."
    )


def _length_title(lengths: Lengths) -> str:
    return (
        f"length in {lengths.unit}: median {lengths.median:,}, "
        f"95 % within {lengths.percentile_95:,}, longest {lengths.longest:,}"
    )


def _bin_counts(lengths: Lengths) -> list[tuple[str, int]]:
    """The counts from the shortest example on; bins below it say nothing."""
    bins = dropwhile(lambda item: not item.count, lengths.bins)
    return [(f"{item.low:,} to {item.high - 1:,}", item.count) for item in bins]


def _bars(counts: Sequence[tuple[str, int]]) -> Table:
    table = Table(headed=False)
    table.figures("", "")
    table.text()
    most = max((count for _, count in counts), default=0) or 1
    for name, count in counts:
        bar = "█" * -(-count * _BAR_WIDTH // most)
        table.add_row(Text(name), f"{count:,}", Text(bar, style="cyan"))
    return table


def _left_out(rows: Iterable[ReasonCount]) -> Table:
    table = Table(headed=False)
    table.figures("")
    table.prose()
    table.prose()
    for row in rows:
        table.add_row(f"{row.count:,}", Text(row.reason), Text(f"such as {row.where}"))
    return table


def _shown(pieces: Sequence[ShownText]) -> Text:
    """The example, with a long prompt shortened in the middle; trained text is never shortened."""
    text = Text()
    for piece in pieces:
        if piece.trained:
            text.append(f"{OPEN}{piece.text}{CLOSE}", style="bold green")
        else:
            text.append(_shortened(piece.text), style="dim")
    return text


def _shortened(text: str) -> str:
    if len(text) <= _MAX_SHOWN:
        return text
    half = _MAX_SHOWN // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters …\n{text[-half:]}"
