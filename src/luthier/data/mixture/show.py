"""A `MixtureAccount` on the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType

from luthier.core.tables import Table
from luthier.core.terminal import Text
from luthier.data.mixture.account import MixtureAccount

_UNEVEN = 2.0
"""The ratio of a source's shares of gradient and draws from which a note says so."""


def render_account(report: MixtureAccount) -> RenderableType:
    """The sources of a mixture as a table, with notes on shares that differ."""
    heading = Text.assemble((report.name, "bold cyan"), f"\n{report.draws:,} draws an epoch")
    table = Table("source")
    table.figures("examples", "draws", "share", "passes", "of tokens", "of gradient")
    for one in report.sources:
        table.add_row(
            one.name,
            f"{one.examples:,}",
            f"{one.draws:,}",
            f"{one.rate:.1%}",
            f"{one.passes:.2f}",
            f"{one.tokens:.1%}",
            f"{one.gradient:.1%}",
        )
    return Group(heading, table, *(Text(f"\n{note}") for note in _notes(report)))


def _notes(report: MixtureAccount) -> list[str]:
    """Notes on sources whose share of the gradient is far from their share of the draws."""
    uneven = [
        one for one in report.sources if not 1 / _UNEVEN <= one.gradient / one.rate <= _UNEVEN
    ]
    if not uneven:
        return []
    most = max(uneven, key=lambda one: abs(one.gradient - one.rate))
    return [
        "Each trained token has the same weight in the loss, so sources with long answers have a "
        f"larger share of the gradient than of the draws: {most.name} has {most.rate:.1%} of the "
        f"draws and {most.gradient:.1%} of the gradient. train.loss_weight=source makes the shares "
        "equal."
    ]
