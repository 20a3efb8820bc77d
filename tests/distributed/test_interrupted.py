"""Several processes that are stopped or killed end together, and go on as if nothing had been."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from tests.command_server import PATIENCE_SECONDS
from tests.distributed.conftest import Training

from luthier.core.files import read_lines

Make = Callable[..., Training]
# From a killed process to the end of all others.
BOUND_SECONDS = 60
SAVING = {"train.checkpoint_every": "0s"}
# Each process of a real launcher imports all it needs; "full" does without peft.
LAUNCHED = {"method": "full"}


def running(run: Training, processes: int, step: int) -> tuple[psutil.Popen, list[psutil.Process]]:
    """Start, wait for a step, and give the launcher and the processes it started."""
    launcher = run.start(processes)
    run.wait_for(step, lambda: launcher.poll() is None)
    return launcher, psutil.Process(launcher.pid).children()


def assert_all_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=BOUND_SECONDS)
    assert not alive


@pytest.mark.long
@pytest.mark.parametrize("parallelism", [pytest.param("ddp", marks=pytest.mark.long), "fsdp"])
def test_a_signal_saves_at_a_step_and_all_go_on_exactly(parallelism: str, training: Make) -> None:
    layout = {"train.parallelism": parallelism, **LAUNCHED}
    whole, stopped = training("whole", **layout), training("stopped", **layout)
    whole.finish(processes=2)
    launcher, processes = running(stopped, 2, step=3)
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(BOUND_SECONDS) == 75, stopped.log
    assert_all_gone(processes)
    done = len(stopped.losses)
    assert 3 <= done < 20
    assert stopped.start(processes=2).wait(PATIENCE_SECONDS) == 0, stopped.log
    assert [loss.hex() for loss in stopped.losses] == [loss.hex() for loss in whole.losses]
    for name, value in whole.weights().items():
        assert stopped.weights()[name].equal(value), name


@pytest.mark.long
@pytest.mark.parametrize("parallelism", ["ddp", "fsdp"])
def test_all_leave_out_the_same_steps_of_float16(parallelism: str, training: Make) -> None:
    """Copies that had parted by a step would be made alike by a resume, and go on otherwise."""
    layout = {"train.parallelism": parallelism, "model.dtype": "float16", **LAUNCHED}
    whole, stopped = training("whole", **layout), training("stopped", **layout)
    whole.finish(processes=2)
    left = whole.record.overflows
    assert left > 0
    assert len(whole.losses) == 20 - left
    assert stopped.stop(2, step=3) == [75, 75], stopped.log
    stopped.finish(processes=2)
    assert stopped.record.overflows == left
    assert [loss.hex() for loss in stopped.losses] == [loss.hex() for loss in whole.losses]
    for name, value in whole.weights().items():
        assert stopped.weights()[name].equal(value), name


@pytest.mark.long
@pytest.mark.parametrize("victim", [pytest.param(0, marks=pytest.mark.long), 1])
def test_a_killed_process_ends_all_and_the_run_goes_on(victim: int, training: Make) -> None:
    whole, killed = (training(name, **SAVING, **LAUNCHED) for name in ("whole", "killed"))
    whole.finish(processes=2)
    launcher, processes = running(killed, 2, step=4)
    processes[victim].kill()
    assert launcher.wait(BOUND_SECONDS) == 128 + signal.SIGKILL, killed.log
    assert_all_gone(processes)
    killed.finish(processes=2)
    assert [loss.hex() for loss in killed.losses] == [loss.hex() for loss in whole.losses]


def test_a_killed_launcher_leaves_no_orphans(training: Make) -> None:
    launcher, processes = running(training("orphans", **LAUNCHED), 2, step=2)
    launcher.kill()
    launcher.wait()
    assert_all_gone(processes)


def test_a_checkpoint_of_two_processes_serves_one_and_two_again(training: Make) -> None:
    """2 → 1 → 2: every example is seen as often and in the same order as without a stop."""
    layout = {"train.parallelism": "fsdp", **SAVING}
    whole, moved = training("whole", **layout), training("moved", **layout)
    whole.finish(processes=2)
    for processes, step in ((2, 4), (1, 9)):
        assert moved.stop(processes, step) == [75] * processes, moved.log
    moved.finish(processes=2)
    assert len(moved.losses) == 20
    assert moved.losses == pytest.approx(whole.losses, rel=1e-5)
    assert tokens(moved.path) == tokens(whole.path)


def tokens(run: Path) -> list[int]:
    """What each step processed: steps of other examples would have other lengths."""
    return [line["tokens"] for line in read_lines(run / "metrics.jsonl")]
