"""Clocks that are wrong, or go back: what is trained and measured does not depend on them."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.core.console import Console
from luthier.records.ladder import LadderRecord
from luthier.reports.runs import collect_runs
from luthier.training.trackers.tensorboard import _after

YEAR = 365 * 24 * 3600.0
QUIET = Console(quiet=True)


@pytest.fixture
def mad_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of day jumps by years, forwards and back, whenever it is asked for."""
    now, jumps = time.time(), itertools.cycle((0.0, 30 * YEAR, -50 * YEAR, 3.0, -1.0))
    monkeypatch.setattr(time, "time", lambda: now + next(jumps))
    monkeypatch.setattr(time, "time_ns", lambda: int(time.time() * 1e9))


def climbed(settings: dict[str, Any], output: Path, **changes: Any) -> LadderRecord:
    return luthier.adapt(None, {**settings, "output": str(output), **changes}, QUIET).ladder


def table(ladder: LadderRecord) -> list[Any]:
    return [(rung.name, rung.status, rung.metric) for rung in ladder.rungs]


def test_a_clock_that_jumps_by_years_changes_nothing(
    tiny_llama: Path,
    quick_settings: dict[str, Any],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    settings = {
        **quick_settings,
        "model.id": str(tiny_llama),
        "adapt.rungs": ["zero-shot", "lora"],
        "adapt.budget": "1h",
        "name": "ladder",
    }
    expected = climbed(settings, tmp_path / "sane")
    request.getfixturevalue("mad_clock")
    found = climbed(settings, tmp_path / "mad")
    assert table(found) == table(expected)
    assert table(climbed(settings, tmp_path / "mad")) == table(expected)  # run again: nothing new
    assert [run.name for run in collect_runs(tmp_path / "mad")] == ["ladder"]


def test_event_files_stay_in_order_where_the_clock_goes_back(tmp_path: Path) -> None:
    assert _after(tmp_path, 1_000) == 1_000
    (tmp_path / "events.out.tfevents.2000000000.0123456789abcdef").touch()
    assert _after(tmp_path, 1_000) == 2_000_000_001
    assert _after(tmp_path, -5) == 2_000_000_001
    (tmp_path / "events.out.tfevents.x").touch()
    (tmp_path / "events.out.tfevents.9999999999.a").touch()
    assert _after(tmp_path, 1_000) == 9_999_999_999
