"""One process writes in a run; another is told which."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.command_server import CommandServer
from tests.faults.conftest import Run, Tuning

from luthier.core.console import Console
from luthier.core.errors import DataError, ResourceError
from luthier.records import run_lock
from luthier.records.run_directory import RunDirectory
from luthier.records.run_lock import writing

HOLD = """
import sys, time
from pathlib import Path
from luthier.records.run_directory import RunDirectory
from luthier.records.run_lock import writing
with writing(RunDirectory(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path, "run")


@pytest.fixture
def other(run: RunDirectory) -> Any:
    """Another process that writes in the run."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_is_told_who_holds_the_run(run: RunDirectory, other: Any) -> None:
    with pytest.raises(ResourceError) as caught, writing(run):
        pass
    assert caught.value.problem.startswith(f"process {other.pid} on {socket.gethostname()} (-c")
    assert caught.value.where == str(run.path)
    assert "--name" in caught.value.fix


def test_one_who_took_it_just_now_gets_a_moment_to_say_so(run: RunDirectory, other: Any) -> None:
    """Until then there is nothing, or the name of one that was killed."""
    named = run.lock.read_bytes()
    killed = json.loads(named) | {"start": "1", "pid": 2**22 + 1}
    run.lock.write_text(json.dumps(killed).ljust(512))
    write = threading.Timer(0.3, run.lock.write_bytes, [named])
    write.start()
    with pytest.raises(ResourceError, match=f"process {other.pid} "), writing(run):
        pass
    write.join()


def test_a_rung_belongs_to_its_ladder(run: RunDirectory, other: Any) -> None:
    with pytest.raises(ResourceError, match="is writing in this run"), writing(run.rung("lora")):
        pass


def test_a_killed_holder_leaves_nothing_behind(run: RunDirectory, other: Any) -> None:
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    with writing(run):
        held = json.loads(run.lock.read_text())
        assert held["pid"] == os.getpid()
    assert run.lock.read_bytes() == b""
    with writing(run):
        pass


def test_the_same_process_may_take_it_again(run: RunDirectory) -> None:
    with writing(run), writing(run.rung("lora")), writing(run):
        held = json.loads(run.lock.read_text())
    assert held["pid"] == os.getpid()


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system without locks."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr(run_lock.fcntl, "lockf", refuse)


def test_without_locks_a_holder_of_this_machine_is_looked_for(
    run: RunDirectory, other: Any, no_locks: None
) -> None:
    with pytest.raises(ResourceError, match=f"process {other.pid} "), writing(run):
        pass
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    with writing(run):
        pass


def test_a_number_that_another_process_got_is_no_holder(run: RunDirectory, no_locks: None) -> None:
    """The number of a process that ended is given again; its start is not."""
    holder = {"host": socket.gethostname(), "pid": os.getppid(), "start": "1", "command": "tune"}
    run.lock.write_text(json.dumps({**holder, "since": "then", "beat": 3, "token": "t"}))
    with writing(run):
        pass


@pytest.fixture
def elsewhere(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a process on another machine wrote into the lock, and did not take back."""
    monkeypatch.setattr(run_lock, "_BEAT", 0.2)
    holder = {"host": "elsewhere", "pid": 7, "start": "1", "command": "tune", "since": "then"}
    written = {**holder, "beat": 3, "token": "t"}
    run.lock.write_text(json.dumps(written))
    return written


def test_a_holder_elsewhere_that_stands_still_is_passed_over(
    run: RunDirectory, elsewhere: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    with writing(run, Console()):
        pass
    assert "elsewhere may still write in this run" in capfd.readouterr().err


BEATING = """
import json, sys, time
written = json.loads(sys.argv[2])
print("beats", flush=True)
while True:
    written["beat"] += 1
    with open(sys.argv[1], "r+") as file:
        file.write(json.dumps(written))
    time.sleep(0.05)
"""


def test_a_holder_elsewhere_that_works_is_seen(
    run: RunDirectory, elsewhere: dict[str, Any]
) -> None:
    command = [sys.executable, "-c", BEATING, str(run.lock), json.dumps(elsewhere)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "beats\n"
            with pytest.raises(ResourceError, match="process 7 on elsewhere"), writing(run):
                pass
        finally:
            process.kill()


def test_the_beat_goes_on_while_the_run_is_held(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lock, "_BEAT", 0.01)
    with writing(run):
        deadline = time.monotonic() + 10
        while json.loads(run.lock.read_text())["beat"] < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"[" * 100_000, b"{}", b'{"host": 1}', b"null", b" " * 10_000]
)
def test_a_lock_that_says_nothing_useful_is_free(run: RunDirectory, content: bytes) -> None:
    run.lock.write_bytes(content)
    with writing(run):
        pass


def test_a_lock_is_no_link_and_has_one_name(run: RunDirectory, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    run.lock.symlink_to(outside)
    with pytest.raises(ResourceError), writing(run):
        pass
    run.lock.unlink()
    os.link(outside, run.lock)
    with pytest.raises(DataError, match="second hard link"), writing(run):
        pass
    assert outside.read_text() == "precious"


def assert_one_works(run: Run) -> None:
    """Both are started at once: one works, and the other says who does."""
    codes, said = run.race(2)
    assert sorted(codes) == [0, ResourceError.exit_code], said
    refused = said[codes.index(ResourceError.exit_code)]
    holder = re.search(rf"process (\d+) on {re.escape(socket.gethostname())} ", refused)
    assert holder, refused
    assert "is writing in this run" in refused
    assert "Traceback" not in "".join(said)


def test_two_commands_in_one_run(make_tuning: Any) -> None:
    assert_one_works(make_tuning())


@pytest.fixture
def make_run(
    command_server: CommandServer, tuning_settings: dict[str, Any], tmp_path: Path
) -> Callable[[str], Run]:
    """A run of a command that takes some seconds."""
    slow = {"evaluate.max_new_tokens": 100, "adapt.rungs": ["zero-shot", "lora"]}

    def make(command: str) -> Run:
        if command != "resume":
            return Run(command_server, command, tmp_path / "run", {**tuning_settings, **slow})
        begun = Tuning(command_server, "tune", tmp_path / "run", tuning_settings)
        assert begun.stop(lambda: begun.steps >= 3, signal.SIGKILL) == -signal.SIGKILL
        begun.command = ["resume", str(begun.run)]
        return begun

    return make


@pytest.mark.long
@pytest.mark.parametrize("command", ["adapt", "tune", "resume", "evaluate"])
@pytest.mark.parametrize("number", range(5))
def test_pairs_in_one_run(number: int, command: str, make_run: Callable[[str], Run]) -> None:
    run = make_run(command)
    assert_one_works(run)
    assert run.finish() == 0, run.log  # whoever comes later goes on with what is there
    assert not run.run.joinpath(".lock").read_bytes()
