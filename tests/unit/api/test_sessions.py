"""Trainings in sessions with a time limit, and after an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.api.interruption import continued_by_resume
from luthier.cli.main import run
from luthier.config.stored import stored_config
from luthier.core.console import Console
from luthier.core.errors import PreemptedError, UsageError
from luthier.core.interrupt import Interrupted
from luthier.records.run_directory import RunDirectory

pytestmark = pytest.mark.usefixtures("one_thread")
QUIET = Console(quiet=True)
SHORT = 1e-3


@pytest.fixture
def settings(tiny_llama: Path, quick_settings: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    changes = {"model.id": str(tiny_llama), "output": str(tmp_path / "runs"), "train.epochs": 1}
    return {**quick_settings, **changes}


def test_every_session_has_its_time(settings: dict[str, Any]) -> None:
    """The stored limit stays that of a session, and the sum of sessions is the whole training."""
    whole = luthier.tune(None, {**settings, "name": "whole"}, QUIET)
    result = luthier.tune(None, {**settings, "name": "boxed", "train.max_time": SHORT}, QUIET)
    steps = [result.training.steps]
    while not result.is_finished:
        assert "not finished" in result.sentence
        result = luthier.resume(result.run.path, QUIET)  # type: ignore[assignment]
        steps.append(result.training.steps)
        assert stored_config(result.run).train.max_time == SHORT
    assert steps == list(range(1, whole.training.planned_steps + 1))
    assert result.training.last_loss == whole.training.last_loss


def test_a_new_limit_holds_from_then_on(settings: dict[str, Any]) -> None:
    first = luthier.tune(None, {**settings, "train.max_time": SHORT}, QUIET)
    longer = luthier.resume(first.run.path, QUIET, max_time="1h")
    assert longer.is_finished
    assert stored_config(longer.run).train.max_time == 3600
    with pytest.raises(UsageError, match="not a duration"):
        luthier.resume(first.run.path, QUIET, max_time="soon")


def test_an_extension_has_a_limit_of_its_own(settings: dict[str, Any]) -> None:
    first = luthier.tune(None, {**settings, "train.max_time": SHORT}, QUIET)
    stopped = luthier.extend(first.run.path, steps=2, console=QUIET)
    assert (stopped.is_finished, stopped.training.steps) == (False, 2)
    longer = luthier.extend(first.run.path, steps=1, max_time="1h", console=QUIET)
    assert longer.is_finished
    assert longer.training.steps == longer.training.planned_steps


def test_a_ladder_goes_on_where_a_rung_ran_out_of_time(settings: dict[str, Any]) -> None:
    changes = {"adapt.rungs": ["zero-shot", "lora"], "train.max_time": SHORT}
    first = luthier.adapt(None, {**settings, **changes}, QUIET)
    assert not first.is_finished
    assert "lora" in first.sentence
    second = luthier.resume(first.run.path, QUIET)
    assert steps_of(second) > steps_of(first)
    assert stored_config(second.run).train.max_time == SHORT
    assert luthier.resume(first.run.path, QUIET, max_time="1h").is_finished


def steps_of(result: Any) -> int:
    return int(result.ladder.rungs[-1].training.steps)


def test_the_command_says_how_to_go_on(
    settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    first = luthier.tune(None, {**settings, "train.max_time": SHORT}, QUIET)
    place = str(first.run.path)
    assert run(["resume", place]) == 0
    shown = "".join(capsys.readouterr().out.split())  # lines are wrapped at any place
    assert f"{place}isnotfinished" in shown
    assert f"luthierresume{place}" in shown
    assert run(["resume", place, "--max-time", "1h"]) == 0
    assert "is finished" in " ".join(capsys.readouterr().out.split())


def test_a_budget_that_is_used_up_is_what_more_is_needed_of(settings: dict[str, Any]) -> None:
    changes = {"adapt.rungs": ["lora"], "adapt.budget": 30.0, "train.max_time": SHORT}
    result = luthier.adapt(None, {**settings, **changes}, QUIET)
    assert "--budget 60s" in result.next_command


def test_an_interruption_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = RunDirectory(tmp_path)
    with pytest.raises(PreemptedError) as stopped, continued_by_resume(place):
        raise PreemptedError("stopped", fix="another")
    assert stopped.value.fix == f"continue with 'luthier resume {tmp_path}'"
    with pytest.raises(KeyboardInterrupt) as interrupted, continued_by_resume(place):
        raise KeyboardInterrupt
    assert interrupted.value.__notes__ == [stopped.value.fix]
    for module in ("luthier.api.interruption", "luthier.core.notebook"):
        monkeypatch.setattr(f"{module}.in_notebook", lambda: True)
    with pytest.raises(Interrupted) as shown, continued_by_resume(place):
        raise KeyboardInterrupt
    advice = f'continue with luthier.resume("{tmp_path}")'
    assert shown.value._render_traceback_() == [f"interrupted; {advice}"]
