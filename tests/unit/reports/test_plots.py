from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.records.ladder import LadderRecord
from luthier.reports.content import LossCurve
from luthier.reports.plots import _smooth, _tick_text, _time_ticks, ladder_plots, loss_plot

A_TIME = re.compile(r"[\d.]+ (ms|s|min|h)|\d+m \d+s|\d+h \d+m")
NS = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [node.text or "" for node in ET.fromstring(svg).iter(f"{NS}text")]


def with_names(ladder: LadderRecord, name: str) -> LadderRecord:
    rungs = tuple(
        rung.model_copy(update={"name": f"{name}{i}"}) for i, rung in enumerate(ladder.rungs)
    )
    return ladder.model_copy(update={"rungs": rungs, "metric": name})


def test_there_is_a_plot_for_metric_cost_and_forgetting(ladder: LadderRecord) -> None:
    metric, cost, forgetting = ladder_plots(ladder)
    for name in ("zero-shot", "one-shot", "few-shot", "prompt-tuning", "lora"):
        assert name in texts(metric.svg)
        assert name in texts(cost.svg)
    assert "0.280" in texts(metric.svg)
    assert [name for name in ("few-shot", "lora") if name in texts(forgetting.svg)] == ["lora"]


def test_times_are_marked_in_their_units(ladder: LadderRecord) -> None:
    assert {"30 s", "1 min", "2 min", "5 min"} <= set(texts(ladder_plots(ladder)[1].svg))


def test_a_plot_says_what_it_shows_to_those_who_do_not_see_it(ladder: LadderRecord) -> None:
    plot = ladder_plots(ladder)[0]
    root = ET.fromstring(plot.svg)
    title, desc = root.find(f"{NS}title"), root.find(f"{NS}desc")
    assert title is not None
    assert desc is not None
    assert title.text == "rougeL by rung"
    assert "lora 0.2798, interval" in (desc.text or "")
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"


def test_ids_are_unique_over_all_plots(ladder: LadderRecord) -> None:
    curve = LossCurve(((1, 3.0), (2, 2.0)), ((2, 2.5),))
    plots = [*ladder_plots(ladder), loss_plot({"a": curve}), loss_plot({"b": curve})]
    ids = [node.get("id") for plot in plots if plot for node in ET.fromstring(plot.svg).iter()]
    given = [each for each in ids if each]
    assert len(given) == len(set(given))


def test_equal_records_give_equal_bytes_without_a_date(ladder: LadderRecord) -> None:
    once, again = ladder_plots(ladder), ladder_plots(ladder)
    assert once == again
    assert all("<metadata" not in plot.svg and "dc:date" not in plot.svg for plot in once)


def test_every_colour_comes_from_the_page(ladder: LadderRecord) -> None:
    for plot in ladder_plots(ladder):
        for node in ET.fromstring(plot.svg).iter():
            style = node.get("style", "")
            painted = [part.split(":")[1].strip() for part in style.split(";")
                       if part.strip().startswith(("fill:", "stroke:"))]  # fmt: skip
            assert all(paint == "none" or paint.startswith("var(--") for paint in painted), style


@pytest.mark.parametrize(
    "name", ["$x^{2$", "a & b <i>", "</svg><script>", '" onload="x', "_hidden", "数"]
)
@pytest.mark.filterwarnings("error")
def test_names_are_shown_as_they_are(ladder: LadderRecord, name: str) -> None:
    for plot in ladder_plots(with_names(ladder, name)):
        root = ET.fromstring(plot.svg)
        assert not list(root.iter(f"{NS}script"))
        assert any(name in text for text in texts(plot.svg))


def test_rungs_of_equal_cost_and_value_are_all_named(ladder: LadderRecord) -> None:
    rungs = tuple(ladder.rungs[0].model_copy(update={"name": f"rung-{i}"}) for i in range(12))
    cost = ladder_plots(ladder.model_copy(update={"rungs": rungs}))[1]
    assert {f"rung-{i}" for i in range(12)} <= set(texts(cost.svg))


def test_what_was_not_measured_is_not_drawn(ladder: LadderRecord) -> None:
    skipped = ladder.model_copy(update={"rungs": ladder.rungs[5:]})
    assert ladder_plots(skipped) == []
    prompting = ladder.model_copy(update={"rungs": ladder.rungs[:3]})
    titles = [plot.title for plot in ladder_plots(prompting)]
    assert titles == ["rougeL by rung", "rougeL by cost"]


def test_loss_plot_of_a_long_run_stays_small() -> None:
    curve = LossCurve(tuple((step, 2.0 + step % 7) for step in range(1, 50_001)), ())
    plot = loss_plot({"lora": curve})
    assert plot
    assert len(plot.svg) < 60_000


@pytest.mark.parametrize(
    ("training", "validation"),
    [(((1, 2.0),), ()), ((), ((1, 2.0),)), (((1, 2.0), (2, 1.0)), ((2, 1.5),))],
)
def test_either_curve_may_be_missing(training: Any, validation: Any) -> None:
    plot = loss_plot({"lora": LossCurve(training, validation)})
    assert plot
    assert "optimizer step" in texts(plot.svg)


def test_one_plot_holds_the_losses_of_all_rungs() -> None:
    curve = LossCurve(((1, 3.0), (2, 2.0)), ((2, 2.5),))
    names = ["lora", "prompt-tuning", "full", "_hidden"]
    plot = loss_plot(dict.fromkeys(names, curve), "lora")
    assert plot
    assert plot.title == "Loss while tuning"
    shown = [text.strip() for text in texts(plot.svg)]
    assert [shown.count(name) for name in names] == [1, 1, 1, 1]
    root = ET.fromstring(plot.svg)
    assert "lora training 3 to 2, validation 2.5 to 2.5" in (root.findtext(f"{NS}desc") or "")
    assert "var(--accent" in plot.svg  # the recommended one
    without = loss_plot(dict.fromkeys(names, curve))
    assert without
    assert "var(--accent" not in without.svg


def test_no_curve_no_plot() -> None:
    assert loss_plot({"lora": LossCurve((), ())}) is None


@pytest.mark.filterwarnings("error")
def test_a_very_long_name_leaves_room_for_the_plot(ladder: LadderRecord) -> None:
    for plot in ladder_plots(with_names(ladder, "long" * 200)):
        assert max(map(len, texts(plot.svg))) < 40
        assert "long" * 200 in plot.svg  # in the description


@pytest.mark.parametrize("steps", [1, 3, 12, 40, 200, 2000])
def test_the_smoothed_loss_starts_unbiased_and_ends_where_the_loss_is(steps: int) -> None:
    """A training of 12 steps from 3.0 down to 0.23 ends near 0.23, not at 1.0."""
    curve = tuple((n, 0.23 + 2.77 * 0.6 ** (n * 12 / steps)) for n in range(1, steps + 1))
    smoothed = _smooth(curve)
    assert smoothed[0] == curve[0]
    assert abs(smoothed[-1][1] - curve[-1][1]) < 0.06
    flat = tuple((n, 1.5) for n in range(1, steps + 1))
    assert [value for _, value in _smooth(flat)] == pytest.approx([1.5] * steps)


@settings(max_examples=300)
@given(st.floats(-3, 5.9), st.floats(0.0005, 7))
def test_a_time_axis_has_names_that_differ_and_do_not_meet(start: float, decades: float) -> None:
    low = 10**start
    high = min(10 ** (start + decades), max(4e6, low * 1.01))  # a thousand hours, and a bit
    ticks = _time_ticks(low, high)
    names = [_tick_text(tick) for tick in ticks]
    assert 1 <= len(ticks) <= 8
    assert len(set(names)) == len(names)
    assert all(low * 0.999 <= tick <= high * 1.001 for tick in ticks)
    gaps = [later / earlier for earlier, later in itertools.pairwise(ticks)]
    assert all(gap >= (high / low) ** (1 / 7.001) for gap in gaps)
    if low >= 1 and high / low > 1.5:  # a name cannot tell hours apart by seconds
        assert len(ticks) >= 2, names


@pytest.mark.parametrize(
    "seconds", [(12.0, 19.0), (61.0, 70.0), (2.1, 2.9), (0.2, 0.9), (3000.0, 5000.0), (40.0, 40.0)]
)
def test_times_within_a_decade_have_a_scale(
    seconds: tuple[float, float], ladder: LadderRecord
) -> None:
    """Between 11 and 19 seconds there is no usual mark: the axis had none."""
    first, second, *_ = [rung for rung in ladder.rungs if rung.metric]
    update = {"train_seconds": 0.0}
    rungs = tuple(
        rung.model_copy(update={**update, "evaluate_seconds": took})
        for rung, took in zip((first, second), seconds, strict=True)
    )
    cost = ladder_plots(ladder.model_copy(update={"rungs": rungs}))[1]
    shown = [text for text in texts(cost.svg) if A_TIME.fullmatch(text)]
    assert len(shown) >= (2 if seconds[0] < seconds[1] else 1), texts(cost.svg)
