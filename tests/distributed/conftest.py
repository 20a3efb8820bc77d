"""Trainings in one and in several processes, from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from luthier.core.files import read_lines
from luthier.core.records import TrainingRecord

PATIENCE_SECONDS = 240
EXAMPLES = 40


class Training:
    """One run, and what it left."""

    def __init__(self, folder: Path, name: str, settings: dict[str, Any]) -> None:
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

    def finish(self, processes: int = 1) -> None:
        code = self.start(processes).wait(PATIENCE_SECONDS)
        assert code == 0, self.log

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
def training(tiny_llama: Path, tmp_path: Path) -> Callable[..., Training]:
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
            "train.validations": 1,
            "train.micro_batch_tokens": 256,
            "methods.lora.learning_rate": 0.02,
            "methods.full.learning_rate": 0.005,
        }
        return Training(tmp_path, name, usual | settings)

    return make
