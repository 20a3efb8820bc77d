"""Trainings in one and in several processes, from the command line.

What is compared runs in forks of the command server, which take the places of a launcher's
processes; what ends early runs in processes of a real launcher.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file
from tests.command_server import PATIENCE_SECONDS, Command, CommandServer

from luthier.core.files import read_lines
from luthier.records.training import TrainingRecord

EXAMPLES = 40


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def places(count: int) -> list[dict[str, str]]:
    """What a launcher tells each of ``count`` processes of one machine."""
    if count == 1:
        return [{}]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    sizes = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    ranks = map(str, range(count))
    return [{"RANK": rank, "LOCAL_RANK": rank, **sizes, **meeting} for rank in ranks]


class Training:
    """One run, and what it left."""

    def __init__(
        self, server: CommandServer, folder: Path, name: str, settings: dict[str, Any]
    ) -> None:
        self._server = server
        self.path = folder / name
        values = {**settings, "name": name, "output": str(folder)}
        self._arguments = [f"{key}={json.dumps(value)}" for key, value in values.items()]
        self._log = folder / f"{name}.log"

    def start(self, processes: int = 1, **environment: str) -> subprocess.Popen[bytes]:
        return self._start("-m", "luthier", "tune", "--nproc", str(processes), **environment)

    def start_with_torchrun(self, processes: int) -> subprocess.Popen[bytes]:
        launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
        return self._start(*launcher, str(processes), "-m", "luthier", "tune")

    def _start(self, *program: str, **environment: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *program, *self._arguments],
                env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
                stdout=log,
                stderr=log,
            )

    def run(self, processes: int = 1) -> list[int]:
        """Run to the end in forks; their exit codes. The first one's output is the log."""
        self._fork(processes)
        return self._server.wait()

    def stop(self, processes: int, step: int) -> list[int]:
        """Run in forks, and ask all of them to stop after a step; their exit codes."""
        forks = self._fork(processes)
        self.wait_for(step, lambda: all(map(psutil.pid_exists, forks)))
        for fork in forks:
            with contextlib.suppress(ProcessLookupError):  # it was over, as its exit code says
                os.kill(fork, signal.SIGTERM)
        return self._server.wait()

    def wait_for(self, step: int, lives: Callable[[], bool]) -> None:
        """Wait until a step is logged by a run that lives."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(self.losses) < step:
            assert lives(), self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)

    def _fork(self, processes: int) -> list[int]:
        logs = [str(self._log), *(f"{self._log}-{rank}" for rank in range(1, processes))]
        return self._server.start(
            *(
                Command(["tune", *self._arguments], log, place)
                for log, place in zip(logs, places(processes), strict=True)
            )
        )

    def finish(self, processes: int = 1) -> None:
        assert not any(self.run(processes)), self.log

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def losses(self) -> list[float]:
        return [line["loss"] for line in read_lines(self.path / "metrics.jsonl")]

    @property
    def rises(self) -> list[float]:
        """The rise of the loss on general text at each validation."""
        events = read_lines(self.path / "events.jsonl")
        return [event["rise"] for event in events if event["event"] == "forgetting"]

    @property
    def record(self) -> TrainingRecord:
        return TrainingRecord.read(self.path / "training.json")

    def weights(self) -> dict[str, torch.Tensor]:
        (file,) = (self.path / "model").glob("*.safetensors")
        return load_file(file)


@pytest.fixture
def training(
    tiny_llama: Path, tmp_path: Path, command_server: CommandServer
) -> Callable[..., Training]:
    """``training("name", method="lora", **{"train.…": …})``: twenty steps on forty examples."""
    rows = [
        {"prompt": f"{number} plus {number % 7} is", "completion": "x" * (1 + number % 5)}
        for number in range(EXAMPLES)
    ]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def make(name: str, **settings: Any) -> Training:
        usual = {
            "model.id": str(tiny_llama),
            "model.dtype": "float32",
            "data.source": str(data),
            "data.test_fraction": 0.1,
            "data.num_train": 32,
            "data.num_validation": 2,
            "train.batch_size": 4,
            "train.epochs": 2.5,
            "train.num_validations": 1,
            "train.micro_batch_tokens": 256,
            "methods.lora.learning_rate": 0.02,
            "methods.full.learning_rate": 0.005,
        }
        return Training(command_server, tmp_path, name, usual | settings)

    return make
