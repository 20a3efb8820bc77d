"""A ladder that is killed and run again ends as one that was left alone."""

from __future__ import annotations

import itertools
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.command_server import CommandServer
from tests.faults.conftest import Run

import luthier
from luthier.core.console import Console
from luthier.core.errors import PreemptedError
from luthier.core.files import file_sha256, read_lines
from luthier.records.ladder import LadderRecord

RUNGS = ("zero-shot", "lora", "full")
# What a run took, and what follows from it; everything else must be equal.
_MEASURED = {"train_seconds", "evaluate_seconds", "peak_memory_bytes"}
_MEASURED_IN_TRAINING = {"seconds", "peak_memory_bytes"}


class Ladder(Run):
    """One adapt run, and what it leaves."""

    def __init__(self, server: CommandServer, folder: Path, settings: dict[str, Any]) -> None:
        own = {"adapt.rungs": list(RUNGS), "train.checkpoint_every": "0s"}
        super().__init__(server, "adapt", folder, settings | own)

    def finished(self) -> LadderRecord:
        """Run to the end."""
        assert self.finish() == 0, self.log
        return LadderRecord.read(self.run / "ladder.json")

    def has(self, path: str) -> bool:
        return (self.run / path).is_file()

    def steps(self, rung: str) -> list[int]:
        return [line["step"] for line in read_lines(self.run / "rungs" / rung / "metrics.jsonl")]

    def weights(self) -> dict[str, str]:
        """Hashes of the weights that were made."""
        files = sorted(self.run.glob("rungs/*/model/*.safetensors"))
        return {str(path.relative_to(self.run)): file_sha256(path) for path in files}


Climb = Callable[[Path], Ladder]


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
    record, expected = ladder.finished(), LadderRecord.read(reference.run / "ladder.json")
    assert table(record) == table(expected)
    assert record.recommendation.rung == expected.recommendation.rung
    assert record.recommendation.sentence == expected.recommendation.sentence
    assert ladder.weights() == reference.weights()
    for rung in RUNGS:
        assert ladder.steps(rung) == reference.steps(rung)


@pytest.fixture(scope="module")
def climb(command_server: CommandServer, tiny_llama: Path, quick_settings: dict[str, Any]) -> Climb:
    settings = {**quick_settings, "model.id": str(tiny_llama)}
    return lambda folder: Ladder(command_server, folder, settings)


@pytest.fixture(scope="module")
def reference(climb: Climb, tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Ladder:
    """The run that nobody disturbs, in this process."""
    ladder = climb(tmp_path_factory.mktemp("reference") / "runs")
    record = luthier.adapt(None, ladder.settings, Console(quiet=True)).ladder
    assert [rung.status for rung in record.rungs] == ["done"] * len(RUNGS)
    assert [path.split("/")[1] for path in ladder.weights()] == ["full", "lora"]
    return ladder


def test_interrupted_in_training_and_in_evaluation(
    tmp_path: Path, climb: Climb, reference: Ladder
) -> None:
    """One run, killed in training, asked to stop in the same one, killed in the last evaluation."""
    ladder = climb(tmp_path / "runs")
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
    tmp_path: Path, climb: Climb, reference: Ladder, number: signal.Signals
) -> None:
    """Outside of training nothing is lost either, and the exit code tells who asked."""
    codes = {signal.SIGTERM: PreemptedError.exit_code, signal.SIGINT: 130, signal.SIGKILL: -9}
    ladder = climb(tmp_path / "runs")
    assert ladder.stop(lambda: ladder.has("rungs/zero-shot/rung.json"), number) == codes[number]
    assert not ladder.has("ladder.json")
    assert_equal(ladder, reference)


@pytest.fixture(scope="module")
def lasts(climb: Climb, tmp_path_factory: pytest.TempPathFactory) -> float:
    """How many seconds a ladder takes that nobody disturbs."""
    started = time.monotonic()
    climb(tmp_path_factory.mktemp("timed") / "runs").finished()
    return time.monotonic() - started


@pytest.mark.long
@pytest.mark.parametrize("number", range(50))
def test_killed_at_random_moments(
    tmp_path: Path, climb: Climb, reference: Ladder, lasts: float, number: int
) -> None:
    """Killed at any moment of its life; one that was over before does not count."""
    draw = random.Random(number)
    for attempt in itertools.count():
        ladder = climb(tmp_path / f"runs-{attempt}")
        if ladder.kill_after(draw.uniform(0, lasts)) == -signal.SIGKILL:
            break
    assert_equal(ladder, reference)
