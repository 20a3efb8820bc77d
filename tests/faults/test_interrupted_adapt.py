"""A ladder that is killed and run again ends as one that was left alone."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier import api
from luthier.core.console import Console
from luthier.core.errors import PreemptedError
from luthier.core.files import file_sha256, read_lines
from luthier.core.records import LadderRecord

RUNGS = ("zero-shot", "lora", "full")
_PATIENCE_SECONDS = 300
# What a run took, and what follows from it; everything else must be equal.
_MEASURED = {"train_seconds", "evaluate_seconds", "peak_memory_bytes"}
_MEASURED_IN_TRAINING = {"seconds", "peak_memory_bytes"}


class Ladder:
    """One adapt run in a folder of its own, started as often as is needed."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.run = folder / "ladder"
        self.settings = {
            **settings,
            "name": "ladder",
            "output": str(folder),
            "adapt.rungs": list(RUNGS),
            "train.checkpoint_every": "0s",
        }
        self._arguments = [f"{key}={json.dumps(value)}" for key, value in self.settings.items()]

    def start(self) -> subprocess.Popen[bytes]:
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "luthier", "adapt", *self._arguments],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
            )

    def finish(self) -> LadderRecord:
        """Run to the end."""
        code = self.start().wait(_PATIENCE_SECONDS)
        assert code == 0, self.log
        return LadderRecord.read(self.run / "ladder.json")

    def stop(self, moment: Callable[[], bool], number: signal.Signals) -> int:
        """Run until ``moment``, send the signal, and return the exit code."""
        process = self.start()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not moment():
            assert process.poll() is None, "the run ended before the moment came"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(number)
        return process.wait(_PATIENCE_SECONDS)

    def has(self, path: str) -> bool:
        return (self.run / path).is_file()

    def steps(self, rung: str) -> list[int]:
        return [line["step"] for line in read_lines(self.run / "rungs" / rung / "metrics.jsonl")]

    @property
    def log(self) -> str:
        """What all starts printed."""
        return (self.folder / "log.txt").read_text(encoding="utf-8")

    def weights(self) -> dict[str, str]:
        """Hashes of the weights that were made."""
        files = sorted(self.run.glob("rungs/*/model/*.safetensors"))
        return {str(path.relative_to(self.run)): file_sha256(path) for path in files}


def table(ladder: LadderRecord) -> list[dict[str, Any]]:
    """Everything that a run should reproduce: neither times nor memory."""
    rows = []
    for rung in ladder.rungs:
        row = rung.model_dump(exclude=_MEASURED)
        if rung.training:
            row["training"] = rung.training.model_dump(exclude=_MEASURED_IN_TRAINING)
        rows.append(row)
    return rows


def assert_equal(ladder: Ladder, reference: Ladder) -> None:
    """Run the ladder to its end and compare all that it made."""
    record, expected = ladder.finish(), LadderRecord.read(reference.run / "ladder.json")
    assert table(record) == table(expected)
    assert record.recommendation.rung == expected.recommendation.rung
    assert record.recommendation.sentence == expected.recommendation.sentence
    assert ladder.weights() == reference.weights()
    for rung in RUNGS:
        assert ladder.steps(rung) == reference.steps(rung)


@pytest.fixture(scope="module")
def settings(tiny_llama: Path, quick_settings: dict[str, Any]) -> dict[str, Any]:
    return {**quick_settings, "model.id": str(tiny_llama)}


@pytest.fixture(scope="module")
def reference(
    tmp_path_factory: pytest.TempPathFactory, settings: dict[str, Any], one_thread: None
) -> Ladder:
    """The run that nobody disturbs, in this process."""
    ladder = Ladder(tmp_path_factory.mktemp("reference"), settings)
    record = api.adapt(None, ladder.settings, Console(quiet=True)).ladder
    assert [rung.status for rung in record.rungs] == ["done"] * len(RUNGS)
    assert [path.split("/")[1] for path in ladder.weights()] == ["full", "lora"]
    return ladder


def test_interrupted_in_training_and_in_evaluation(
    tmp_path: Path, settings: dict[str, Any], reference: Ladder
) -> None:
    """One run, killed in training, asked to stop in the same one, killed in the last evaluation."""
    ladder = Ladder(tmp_path / "runs", settings)
    assert ladder.stop(lambda: len(ladder.steps("lora")) >= 5, signal.SIGKILL) == -signal.SIGKILL
    before = len(ladder.steps("lora"))
    assert not ladder.has("rungs/lora/training.json")

    code = ladder.stop(lambda: len(ladder.steps("lora")) >= before + 3, signal.SIGTERM)
    assert code == PreemptedError.exit_code
    assert "stopped by SIGTERM after step" in ladder.log
    assert not ladder.has("rungs/lora/training.json")

    in_evaluation = ladder.stop(lambda: ladder.has("rungs/full/training.json"), signal.SIGKILL)
    assert in_evaluation == -signal.SIGKILL
    assert not ladder.has("rungs/full/rung.json")
    assert_equal(ladder, reference)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_stopped_between_rungs(
    tmp_path: Path, settings: dict[str, Any], reference: Ladder, number: signal.Signals
) -> None:
    """Outside of training nothing is lost either, and the exit code tells who asked."""
    codes = {signal.SIGTERM: PreemptedError.exit_code, signal.SIGINT: 130, signal.SIGKILL: -9}
    ladder = Ladder(tmp_path / "runs", settings)
    assert ladder.stop(lambda: ladder.has("rungs/zero-shot/rung.json"), number) == codes[number]
    assert not ladder.has("ladder.json")
    assert_equal(ladder, reference)


@pytest.mark.long
def test_killed_at_random_moments(
    tmp_path: Path, settings: dict[str, Any], reference: Ladder
) -> None:
    """Ten runs, each killed once at any moment of its life, its start included."""
    draw = random.Random(0)
    started = time.monotonic()
    Ladder(tmp_path / "timed", settings).finish()
    lasts = time.monotonic() - started
    for number in range(10):
        ladder = Ladder(tmp_path / f"runs-{number}", settings)
        process = ladder.start()
        time.sleep(draw.uniform(0, lasts))
        process.kill()
        process.wait(_PATIENCE_SECONDS)
        assert_equal(ladder, reference)
