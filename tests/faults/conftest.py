"""Real commands in real processes, and a disk that is really full."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.command_server import PATIENCE_SECONDS, Command, CommandServer

from luthier.core.files import file_sha256, read_lines

Moment = Callable[[], bool]
SETTINGS = {
    "method": "full",
    "evaluate.general_text": None,
    "train.epochs": 3,
    "train.batch_size": 4,
    "train.num_validations": 4,
    "train.checkpoint_every": "0s",
}


class Run:
    """A run in a folder of its own, whose command is started as often as is needed."""

    def __init__(
        self, server: CommandServer, command: str, output: Path, settings: dict[str, Any]
    ) -> None:
        self._server = server
        self._log = output.with_name(f"{output.name}.log")
        self.run = output / command
        self.settings = {**settings, "name": command, "output": str(output)}
        self.command = [command, *(f"{k}={json.dumps(v)}" for k, v in self.settings.items())]

    def finish(self, *arguments: str) -> int:
        """Run to the end; the exit code."""
        self._start(list(arguments) or self.command)
        return self._wait()

    def race(self, count: int) -> tuple[list[int], list[str]]:
        """Start it ``count`` times at once; each one's exit code, and what each printed."""
        logs = [self._log.with_name(f"{self._log.stem}-{number}.log") for number in range(count)]
        self._server.start(*(Command(self.command, str(log)) for log in logs))
        codes = self._server.wait()
        return codes, [log.read_text(encoding="utf-8") for log in logs]

    def kill_after(self, seconds: float) -> int:
        """Kill it after some time; its exit code, 0 if it was over before."""
        process = self._start(self.command)
        time.sleep(seconds)
        return self._kill(process, signal.SIGKILL)

    def stop(self, moment: Moment, number: signal.Signals, *arguments: str) -> int:
        """Send a signal when the moment has come; the exit code."""
        process = self._start(list(arguments) or self.command)
        deadline = time.monotonic() + PATIENCE_SECONDS
        alive = True
        while not moment():
            assert alive, f"it ended before the moment came: {self.log}"
            assert time.monotonic() < deadline, self.log
            time.sleep(0.0005)
            alive = psutil.pid_exists(process)
        return self._kill(process, number)

    def _kill(self, process: int, number: signal.Signals) -> int:
        with contextlib.suppress(ProcessLookupError):  # it was over, and was waited for
            os.kill(process, number)
        return self._wait()

    def _start(self, arguments: list[str]) -> int:
        (process,) = self._server.start(Command(arguments, str(self._log)))
        return process

    def _wait(self) -> int:
        (code,) = self._server.wait()
        return code

    @property
    def log(self) -> str:
        """What all its commands printed."""
        return self._log.read_text(encoding="utf-8") if self._log.exists() else ""


class Tuning(Run):
    """A tune run, and what it leaves."""

    @property
    def steps(self) -> int:
        """Steps that were logged."""
        return sum(1 for _ in read_lines(self.run / "metrics.jsonl"))

    def losses(self) -> list[tuple[int, str]]:
        """Each step and its loss, to the last bit."""
        lines = read_lines(self.run / "metrics.jsonl")
        return [(line["step"], float(line["loss"]).hex()) for line in lines]

    def outcome(self) -> dict[str, Any]:
        """All that must be the same however often the training was interrupted."""
        record = json.loads((self.run / "training.json").read_text())
        weights = file_sha256(self.run / "model" / "model.safetensors")
        names = ("steps", "best_step", "best_validation_loss", "trained_tokens", "stopped")
        return {"losses": self.losses(), "weights": weights} | {n: record[n] for n in names}


@pytest.fixture(scope="module")
def tuning_settings(tiny_llama: Path, quick_settings: dict[str, Any]) -> dict[str, Any]:
    chosen = {k: v for k, v in quick_settings.items() if not k.startswith("methods.prompt")}
    return {**chosen, **SETTINGS, "model.id": str(tiny_llama)}


@pytest.fixture
def make_tuning(
    command_server: CommandServer, tuning_settings: dict[str, Any], tmp_path: Path
) -> Any:
    """A run of its own: ``make_tuning("a", **{"train.epochs": 2})``."""
    return lambda name="run", **changes: Tuning(
        command_server, "tune", tmp_path / name, {**tuning_settings, **changes}
    )


@pytest.fixture(scope="module")
def undisturbed(
    command_server: CommandServer,
    tuning_settings: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """The run that nobody disturbs, and how many seconds it took."""
    reference = Tuning(
        command_server, "tune", tmp_path_factory.mktemp("undisturbed"), tuning_settings
    )
    started = time.monotonic()
    assert reference.finish() == 0, reference.log
    return reference, time.monotonic() - started
