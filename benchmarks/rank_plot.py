"""Quality, forgetting and trained parameters by LoRA's rank, as an SVG that a phone can show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luthier.core.units import format_count
from luthier.reports.style import LIGHT, plot_style

_INK, _ACCENT, _PAPER = LIGHT.ink, LIGHT.accent, "#ffffff"
_STYLE = plot_style(LIGHT, "lora-ranks") | {
    "font.family": ["DejaVu Sans", "sans-serif"],
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
}
_INCHES = (5.0, 7.4)  # 360 × 533 points
_HEIGHTS = (3, 3, 2)

Row = Mapping[str, Any]


def draw_ranks(path: Path, metric: str, ranks: Mapping[int, Row], baseline: Row | None) -> None:
    """Write the plot.

    Args:
        path: of the SVG.
        metric: its name.
        ranks: the record of the rung of each rank.
        baseline: that of the untuned model, or None.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=_INCHES, layout="constrained", facecolor=_PAPER)
        FigureCanvasAgg(figure)
        quality, forgetting, size = figure.subplots(3, sharex=True, height_ratios=_HEIGHTS)
        _intervals(quality, ranks, "metric")
        if baseline:
            _level(quality, baseline["metric"]["value"], "untuned")
        quality.set_title(f"{metric}, with its interval")
        _intervals(forgetting, ranks, "forgetting")
        _level(forgetting, 0.0)
        forgetting.set_title("forgetting, nats per token (0: none)")
        _sizes(size, ranks)
        size.set_title("trained parameters")
        size.set_xscale("log", base=2)
        size.set_xticks(list(ranks), [str(rank) for rank in ranks])
        size.set_xlabel("rank")
        figure.savefig(path, metadata={"Date": None})


def _intervals(axes: Any, ranks: Mapping[int, Row], name: str) -> None:
    """A line through the estimates called ``name``, a bar for the interval of each."""
    known = {rank: row[name] for rank, row in ranks.items() if row[name]}
    values = [value["value"] for value in known.values()]
    below = [max(value["value"] - value["low"], 0.0) for value in known.values()]
    above = [max(value["high"] - value["value"], 0.0) for value in known.values()]
    axes.errorbar(
        list(known), values, yerr=[below, above],
        fmt="o-", markersize=5, linewidth=1.2, elinewidth=1.2, color=_INK, ecolor=_INK,
    )  # fmt: skip
    axes.margins(y=0.12)
    axes.grid(axis="y")


def _level(axes: Any, value: float, label: str = "") -> None:
    """A dashed line across, with its name above its right end."""
    axes.axhline(value, color=_ACCENT, linestyle=(0, (4, 3)), linewidth=1)
    axes.annotate(
        label, (1, value), (0, 3), xycoords=("axes fraction", "data"),
        textcoords="offset points", ha="right", va="bottom", color=_ACCENT,
    )  # fmt: skip


def _sizes(axes: Any, ranks: Mapping[int, Row]) -> None:
    """Trained parameters on a logarithmic axis, every second one in words."""
    counts = [row["trained_parameters"] for row in ranks.values()]
    axes.plot(list(ranks), counts, "o-", markersize=4, linewidth=1.2, color=_INK)
    axes.set_yscale("log")
    for rank, count in list(zip(ranks, counts, strict=True))[::2]:
        axes.annotate(
            format_count(count), (rank, count), (0, 7),
            textcoords="offset points", ha="center", color=_INK,
        )  # fmt: skip
    axes.set_yticks([], [])
    axes.set_yticks([], [], minor=True)
    axes.margins(y=0.35)
    axes.spines["left"].set_visible(False)
