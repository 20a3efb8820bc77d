"""Plots as inline SVG in the colours of the page.

A plot is drawn in placeholder colours that are then replaced by CSS variables, so that one SVG
suits light and dark pages. Nothing in it depends on the time or the machine: equal records give
equal bytes.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log, sqrt
from typing import Any

from luthier.core.seeds import fingerprint
from luthier.core.terminal import printable
from luthier.core.units import format_duration
from luthier.records.base import Estimate
from luthier.records.classes import Reliability
from luthier.records.ladder import LadderRecord
from luthier.reports.content import LossCurve, Points
from luthier.reports.format import format_estimate
from luthier.reports.style import LIGHT, Palette, plot_style

# Placeholders take the page's colours; outside a report, the light ones.
_DRAWN = Palette(ink="#010203", muted="#020304", rule="#030405", accent="#040506")
_COLOURS = {
    drawn: f"var(--{name}, {light})"
    for name, drawn, light in zip(Palette._fields, _DRAWN, LIGHT, strict=True)
}
_INK, _MUTED, _RULE, _ACCENT = _DRAWN
_WIDTH, _HEIGHT = 5.6, 3.4
_INCHES_PER_ROW = 0.47
_TIME_TICKS = (0.001, 0.01, 0.1, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_200, 1_800)
_HOUR_TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)
# Tick distances if the times are too close for the usual ticks: the widest that gives enough.
_TIME_STEPS = (
    36_000, 18_000, 7_200, 3_600, 1_800, 900, 600, 300, 120, 60, 30, 20, 10, 5, 2, 1,
    0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001,
)  # fmt: skip
_LOSS_CAPTION = "Faint: each optimizer step. Lines: a light running mean. Dots: validation loss."
_CURVE_LINES = (
    (_INK, "-"), (_MUTED, (0, (5, 2))), (_INK, (0, (1, 1.6))), (_MUTED, "-"),
    (_INK, (0, (5, 2, 1, 2))), (_MUTED, (0, (1, 1.6))),
)  # fmt: skip
"""Colours and dashes of losses, which differ without their colours too."""
_LEAST_TICKS, _MOST_TICKS = 3, 7
_MAX_LABEL = 28
_MAX_CURVE_POINTS = 400
# The window of the running mean is a share of the steps, so short trainings are not oversmoothed.
_SMOOTHED_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot with its caption; ``svg`` is safe to embed in a page."""

    title: str
    caption: str
    svg: str


@dataclass(frozen=True, slots=True)
class _Point:
    label: str
    estimate: Estimate
    is_recommended: bool
    seconds: float


def ladder_plots(ladder: LadderRecord) -> list[Plot]:
    """The metric by rung, the metric by cost, and forgetting, if measured."""
    plots = []
    measured = [
        _Point(rung.name, rung.metric, rung.name == ladder.recommendation.rung,
               rung.train_seconds + rung.evaluate_seconds)
        for rung in ladder.rungs
        if rung.metric is not None
    ]  # fmt: skip
    forgot = [
        _Point(rung.name, rung.forgetting, rung.name == ladder.recommendation.rung, 0.0)
        for rung in ladder.rungs
        if rung.forgetting is not None
    ]
    if measured:
        plots.append(_metric_plot(measured, ladder))
    if any(point.seconds > 0 for point in measured):
        plots.append(_cost_plot([point for point in measured if point.seconds > 0], ladder))
    if forgot:
        plots.append(_forgetting_plot(forgot))
    return plots


def loss_plot(curves: Mapping[str, LossCurve], chosen: str | None = None) -> Plot | None:
    """Training and validation losses of all tuned systems by step; None without any.

    Args:
        curves: the losses by the name of the system.
        chosen: the recommended system, shown in the accent colour.
    """
    drawn = {name: curve for name, curve in curves.items() if curve.training or curve.validation}
    if not drawn:
        return None
    title = "Loss while tuning" if len(drawn) > 1 else f"Loss while tuning {next(iter(drawn))}"
    with _axes(title) as axes:
        lines = iter(_CURVE_LINES)
        for name, curve in drawn.items():
            colour, dashes = (_ACCENT, "-") if name == chosen else next(lines, (_MUTED, "-"))
            label = _short(f" {name}" if name.startswith("_") else name)  # "_" would hide it
            _draw_curve(axes, label, curve, colour, dashes)
        axes.set_xlabel("optimizer step")
        axes.locator_params(axis="x", integer=True)
        axes.set_ylabel("nats per trained token")
        axes.grid(axis="y")
        if len(drawn) > 1:
            axes.legend(frameon=False, labelcolor=_INK, handlelength=2.4)
        described = "; ".join(f"{name} {_ends(curve)}" for name, curve in drawn.items())
        return Plot(title, _LOSS_CAPTION, _svg(axes, title, described))


def _draw_curve(axes: Any, name: str, curve: LossCurve, colour: str, dashes: Any) -> None:
    """The loss of each step faintly, its running mean as a line, and validation losses as dots."""
    if curve.training:
        axes.plot(*_columns(_thin(curve.training)), color=_RULE, linewidth=0.8, zorder=1)
        axes.plot(
            *_columns(_thin(_smooth(curve.training))),
            color=colour, linewidth=1.5, linestyle=dashes, label=name,
        )  # fmt: skip
    axes.plot(
        *_columns(curve.validation), color=colour, linewidth=0, marker="o", markersize=5,
        label=None if curve.training else name,
    )  # fmt: skip


def _ends(curve: LossCurve) -> str:
    """The first and last losses in words."""
    kinds = (("training", curve.training), ("validation", curve.validation))
    told = (f"{kind} {one[0][1]:.4g} to {one[-1][1]:.4g}" for kind, one in kinds if one)
    return ", ".join(told)


def reliability_plot(name: str, reliability: Reliability) -> Plot:
    """Accuracy by confidence, in bins; a calibrated model lies on the diagonal."""
    title = f"Reliability of {name}"
    caption = "A dot for each range of confidence, larger with more answers. Line: calibrated."
    bins = [each for each in reliability.bins if each.n]
    largest = max(each.n for each in bins)
    with _axes(title) as axes:
        axes.plot([0, 1], [0, 1], color=_MUTED, linestyle=(0, (4, 3)), linewidth=1)
        axes.scatter(
            [each.confidence for each in bins], [each.accuracy for each in bins],
            s=[30 + 170 * each.n / largest for each in bins], color=_ACCENT, alpha=1,
        )  # fmt: skip
        axes.set_xlim(-0.02, 1.04)
        axes.set_ylim(-0.04, 1.06)
        axes.set_xlabel("confidence")
        axes.set_ylabel("accuracy")
        axes.grid(axis="y")
        described = "; ".join(
            f"confidence {each.confidence:.2f}, accuracy {each.accuracy:.2f}, n {each.n}"
            for each in bins
        )
        return Plot(title, caption, _svg(axes, title, described))


def _metric_plot(points: Sequence[_Point], ladder: LadderRecord) -> Plot:
    title = f"{ladder.metric} by rung"
    caption = "Cheapest rung at the top. Bars are intervals" + (
        f"; the dashed line is the target, {ladder.target:g}." if ladder.target is not None else "."
    )
    with _axes(title, _rows_height(points)) as axes:
        if ladder.target is not None:
            axes.axvline(ladder.target, color=_ACCENT, linestyle=(0, (4, 3)), linewidth=1)
        _draw_intervals(axes, points)
        axes.set_xlabel(_short(ladder.metric))
        return Plot(title, caption, _svg(axes, title, _describe(points)))


def _forgetting_plot(points: Sequence[_Point]) -> Plot:
    title = "Forgetting"
    caption = "Rise of the loss on general text the task never saw. Zero: nothing was forgotten."
    with _axes(title, _rows_height(points)) as axes:
        axes.axvline(0, color=_MUTED, linewidth=1)
        _draw_intervals(axes, points)
        axes.set_xlabel("nats per token, after − before")
        return Plot(title, caption, _svg(axes, title, _describe(points)))


def _cost_plot(points: Sequence[_Point], ladder: LadderRecord) -> Plot:
    title = f"{ladder.metric} by cost"
    caption = "Time to tune and to measure, on a logarithmic axis."
    with _axes(title) as axes:
        for point in points:
            colour = _ACCENT if point.is_recommended else _INK
            axes.errorbar(
                point.seconds, point.estimate.value, yerr=_error(point.estimate),
                fmt="o", markersize=5.5, color=colour, ecolor=colour, elinewidth=1.1,
            )  # fmt: skip
        if ladder.target is not None:
            axes.axhline(ladder.target, color=_ACCENT, linestyle=(0, (4, 3)), linewidth=1)
        axes.set_xscale("log")
        axes.margins(x=0.22, y=0.12)
        _mark_times(axes)
        axes.set_ylabel(_short(ladder.metric))
        axes.grid(axis="y")
        _label_points(axes, points)
        return Plot(title, caption, _svg(axes, title, _describe(points)))


def _draw_intervals(axes: Any, points: Sequence[_Point]) -> None:
    """A dot with its interval for each point, one below the other, with the value on the right."""
    for row, point in enumerate(points):
        colour = _ACCENT if point.is_recommended else _INK
        axes.errorbar(
            point.estimate.value, row, xerr=_error(point.estimate),
            fmt="o", markersize=6, color=colour, ecolor=colour, elinewidth=1.4,
        )  # fmt: skip
        axes.annotate(
            format_estimate(point.estimate), (point.estimate.value, row), (0, 8),
            textcoords="offset points", ha="center", color=colour,
        )  # fmt: skip
    axes.set_yticks(range(len(points)), [_short(point.label) for point in points])
    axes.set_ylim(len(points) - 0.5, -0.7)
    axes.margins(x=0.12)
    axes.locator_params(axis="x", nbins=6)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def _mark_times(axes: Any) -> None:
    """Put ticks on a logarithmic time axis at round times in suitable units."""
    shown = _time_ticks(*axes.get_xlim())
    axes.set_xticks(shown, [_tick_text(seconds) for seconds in shown])
    axes.set_xticks([], minor=True)


def _time_ticks(low: float, high: float) -> list[float]:
    """Up to seven round times between two others, in seconds, with distinct labels that fit.

    At least three if the labels can distinguish as many, and always one.
    """
    usual = (*_TIME_TICKS, *(3_600 * hours for hours in _HOUR_TICKS))
    shown: list[float] = [seconds for seconds in usual if low <= seconds <= high]
    for step in _TIME_STEPS:
        if len(shown) >= _LEAST_TICKS:
            break
        finer = [step * place for place in range(ceil(low / step), floor(high / step) + 1)]
        if len({_tick_text(seconds) for seconds in finer}) < len(finer):
            break
        shown = finer if len(finer) > len(shown) else shown
    gap = log(high / low) / _MOST_TICKS
    apart: list[float] = []
    for seconds in shown or [sqrt(low * high)]:
        if not apart or log(seconds / apart[-1]) >= gap:
            apart.append(seconds)
    return apart


def _tick_text(seconds: float) -> str:
    if seconds % 3_600 == 0:
        return f"{seconds / 3_600:g} h"
    if seconds % 60 == 0 and seconds < 3_600:
        return f"{seconds / 60:g} min"
    return f"{seconds:g} s" if seconds % 1 == 0 and seconds < 60 else format_duration(seconds)


def _label_points(axes: Any, points: Sequence[_Point]) -> None:
    """Place each name where it covers no interval and no other name, if possible."""
    from matplotlib.transforms import Bbox

    axes.figure.draw_without_rendering()  # computes the layout, and so the positions of the points
    taken = []
    for point in points:
        ends = [(point.seconds, end) for end in (point.estimate.low, point.estimate.high)]
        taken.append(Bbox(axes.transData.transform(ends)).padded(4))
    for point in points:
        for offset, align in _LABEL_PLACES:
            label = axes.annotate(
                _short(point.label), (point.seconds, point.estimate.value), offset,
                textcoords="offset points", ha=align, va="center",
                color=_ACCENT if point.is_recommended else _INK,
            )  # fmt: skip
            box = label.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                break
            label.remove()
        else:
            axes.add_artist(label)
        taken.append(box)


_LABEL_PLACES = (
    ((8, 0), "left"), ((-8, 0), "right"), ((8, 11), "left"), ((-8, 11), "right"),
    ((8, -11), "left"), ((-8, -11), "right"), ((0, 24), "center"), ((0, -24), "center"),
)  # fmt: skip


def _short(label: str) -> str:
    """A name short enough for the plot; the description has the full one."""
    label = printable(label)
    return label if len(label) <= _MAX_LABEL else f"{label[: _MAX_LABEL - 1]}…"


def _rows_height(points: Sequence[_Point]) -> float:
    """The height in inches for one row per point, with space for the axis."""
    return 1.0 + _INCHES_PER_ROW * len(points)


def _error(estimate: Estimate) -> list[list[float]]:
    """Distances to the interval's ends. A bootstrap interval may rarely exclude its own value."""
    below, above = estimate.value - estimate.low, estimate.high - estimate.value
    return [[max(below, 0.0)], [max(above, 0.0)]]


def _describe(points: Sequence[_Point]) -> str:
    return "; ".join(
        f"{point.label} {point.estimate.value:.4g}, {_spread(point.estimate)}" for point in points
    )


def _spread(estimate: Estimate) -> str:
    if estimate.no_interval:
        return "no interval"
    return f"interval {estimate.low:.4g} to {estimate.high:.4g}"


def _smooth(points: Points) -> Points:
    """The exponential running mean over a share of the steps, with bias correction.

    The correction is that of Adam's moments; a mean over one step returns the steps.
    """
    kept = 1 - 1 / max(1.0, _SMOOTHED_SHARE * len(points))
    total, weight, smoothed = 0.0, 0.0, []
    for step, value in points:
        total = kept * total + (1 - kept) * value
        weight = kept * weight + (1 - kept)
        smoothed.append((step, total / weight))
    return tuple(smoothed)


def _thin(points: Points) -> Points:
    """At most `_MAX_CURVE_POINTS` points, evenly spaced, so that a report stays small."""
    stride = -(-len(points) // _MAX_CURVE_POINTS)
    return points[::stride]


def _columns(points: Points) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [value for _, value in points]


@contextmanager
def _axes(title: str, height: float = _HEIGHT) -> Iterator[Any]:
    """Axes in the report's style. Drawing and saving must both happen inside."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(plot_style(_DRAWN, title)), warnings.catch_warnings():
        # The page's fonts render the text, so glyphs missing in matplotlib's fonts do not matter.
        warnings.filterwarnings("ignore", message="Glyph")
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure.subplots()


def _svg(axes: Any, title: str, description: str) -> str:
    """The figure as an SVG element with a title and a description for screen readers."""
    buffer = io.StringIO()
    axes.figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue().replace("font-family: 'DejaVu Sans'; ", "")
    # Size, fonts and line rules come from the page; group ids are not needed.
    for unwanted in (r"<metadata>.*?</metadata>", r"<style.*?</style>", r'(?<=<g) id="[^"]*"'):
        text = re.sub(unwanted, "", text, flags=re.DOTALL)
    for drawn, shown in _COLOURS.items():
        text = text.replace(drawn, shown)
    body = text[text.index(">", text.index("<svg")) + 1 :].strip()
    name = f"plot-{fingerprint(title, description)}"
    width, height = (72 * inches for inches in axes.figure.get_size_inches())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc">\n'
        f'<title id="{name}-title">{escape(printable(title))}</title>\n'
        f'<desc id="{name}-desc">{escape(printable(description))}</desc>\n{body}'
    )
