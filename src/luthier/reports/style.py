"""The shared style of plots: colours and lines."""

from __future__ import annotations

from typing import Any, NamedTuple


class Palette(NamedTuple):
    """The colours of a plot, named as in the report's style sheet."""

    ink: str
    muted: str
    rule: str
    accent: str


LIGHT = Palette(ink="#1f1d1a", muted="#6d675e", rule="#d9d3c7", accent="#9a4a12")
"""The colours on a light page."""


def plot_style(colours: Palette, name: str) -> dict[str, Any]:
    """Settings for ``matplotlib.rc_context``.

    Args:
        colours: the palette.
        name: the plot's name; SVG ids derive from it, so they are unique and reproducible.
    """
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "text.parse_math": False,  # names may contain dollar signs
        "font.family": "DejaVu Sans",
        "font.size": 11,
        "text.color": colours.ink,
        "axes.edgecolor": colours.rule,
        "axes.labelcolor": colours.muted,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "grid.color": colours.rule,
        "grid.linewidth": 0.6,
        "xtick.color": colours.rule,
        "ytick.color": colours.rule,
        "xtick.labelcolor": colours.muted,
        "ytick.labelcolor": colours.ink,
    }
