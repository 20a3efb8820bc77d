"""A tuning that is killed and started again ends as one that was left alone, bit for bit."""

from __future__ import annotations

import random
import signal
from typing import Any

import pytest

from luthier.core.errors import PreemptedError


def is_saving(tuning: Any) -> bool:
    return any((tuning.run / "checkpoints").glob(".step-*.partial"))


def kill_until_finished(tuning: Any, lasts: float, draw: random.Random) -> list[int]:
    """Kill it at random times again and again; the exit codes."""
    codes = [tuning.kill_after(draw.uniform(0, lasts))]
    while codes[-1] == -signal.SIGKILL and len(codes) < 4:
        codes.append(tuning.kill_after(draw.uniform(0, lasts)))
    return [*codes, tuning.finish()] if codes[-1] else codes


def test_killed_while_saving_and_between_steps(make_tuning: Any, undisturbed: Any) -> None:
    reference, _ = undisturbed
    tuning = make_tuning()
    for least in (2, 7):
        code = tuning.stop(lambda least=least: tuning.steps >= least, signal.SIGKILL)
        assert code == -signal.SIGKILL
    before = tuning.steps
    code = tuning.stop(lambda: tuning.steps > before and is_saving(tuning), signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert tuning.finish() == 0, tuning.log
    assert tuning.outcome() == reference.outcome()


def test_killed_while_the_model_is_written(make_tuning: Any, undisturbed: Any) -> None:
    reference, _ = undisturbed
    tuning = make_tuning()
    code = tuning.stop(lambda: any(tuning.run.glob(".model.*.partial")), signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (tuning.run / "training.json").exists()
    assert tuning.finish() == 0, tuning.log
    assert tuning.outcome() == reference.outcome()


def test_asked_to_stop_at_any_step_the_last_included(make_tuning: Any, undisturbed: Any) -> None:
    reference, _ = undisturbed
    tuning, last = make_tuning(), len(reference.losses())
    for step in (1, 5, last):
        code = tuning.stop(lambda step=step: tuning.steps >= step, signal.SIGTERM)
        assert code == PreemptedError.exit_code, tuning.log
        if step < last:
            newest = max((tuning.run / "checkpoints").glob("step-*")).name
            assert newest == f"step-{tuning.steps:06d}"
            assert not (tuning.run / "model").exists()
    assert tuning.finish() == 0, tuning.log
    assert tuning.outcome() == reference.outcome()


@pytest.mark.long
@pytest.mark.parametrize("number", range(50))
def test_killed_at_random_times(number: int, make_tuning: Any, undisturbed: Any) -> None:
    reference, lasts = undisturbed
    tuning = make_tuning()
    draw = random.Random(number)
    codes = kill_until_finished(tuning, lasts, draw)
    while codes[0] != -signal.SIGKILL:  # it was over before
        tuning, lasts = make_tuning(), lasts / 2
        codes = kill_until_finished(tuning, lasts, draw)
    assert codes[-1] == 0, tuning.log
    assert tuning.outcome() == reference.outcome()
