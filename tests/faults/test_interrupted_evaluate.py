"""An evaluation that is killed loses at most the batch in flight, and goes on."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.command_server import CommandServer
from tests.faults.conftest import Moment, Run

from luthier.core.files import read_lines
from luthier.core.records import EvaluationRecord


class Evaluation(Run):
    """One evaluation, and what it leaves."""

    def finished(self) -> dict[str, Any]:
        """Run to the end: the record without its time, and the samples."""
        assert self.finish() == 0, self.log
        (path,) = self.run.glob("evaluation/*.samples.jsonl")
        record = EvaluationRecord.read(path.with_name(path.name.replace(".samples.jsonl", ".json")))
        return {
            "record": record.model_dump(exclude={"seconds"}),
            "samples": path.read_text(encoding="utf-8"),
        }

    def kill(self, moment: Moment) -> None:
        assert self.stop(moment, signal.SIGKILL) == -signal.SIGKILL

    def answers(self) -> list[Any]:
        """What is kept."""
        paths = self.run.glob("evaluation/*.answers.jsonl")
        return [line for path in paths for line in read_lines(path)]

    def results(self) -> dict[str, Any]:
        """The kept answers by key, without the time that they took."""
        return {line["key"]: line["value"]["result"] for line in self.answers()}


Measure = Callable[[Path], Evaluation]


@pytest.fixture(scope="module")
def settings(tiny_llama: Path, quick_settings: dict[str, Any]) -> dict[str, Any]:
    """Many batches of two, each of them slow enough to be killed in."""
    chosen = {k: v for k, v in quick_settings.items() if k.startswith(("data", "evaluate"))}
    slow = {"evaluate.batch_tokens": 350, "evaluate.max_new_tokens": 100, "data.test_fraction": 0.8}
    return {**chosen, **slow, "model.id": str(tiny_llama), "evaluate.general_text": None}


@pytest.fixture(scope="module")
def measure(command_server: CommandServer, settings: dict[str, Any]) -> Measure:
    return lambda folder: Evaluation(command_server, "evaluate", folder, settings)


@pytest.fixture(scope="module")
def reference(measure: Measure, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The evaluation that nobody disturbs, what it gives, and how many seconds it takes."""
    undisturbed = measure(tmp_path_factory.mktemp("undisturbed") / "runs")
    started = time.monotonic()
    return undisturbed, undisturbed.finished(), time.monotonic() - started


def test_killed_twice_and_gone_on_with(measure: Measure, reference: Any, tmp_path: Path) -> None:
    undisturbed, expected, _ = reference
    broken = measure(tmp_path / "runs")
    broken.kill(lambda: len(broken.answers()) >= 4)
    first = broken.answers()
    assert 4 <= len(first) < len(undisturbed.answers())
    assert not list(broken.run.glob("evaluation/*.samples.jsonl"))
    broken.kill(lambda: len(broken.answers()) >= len(first) + 4)
    assert broken.answers()[: len(first)] == first
    assert broken.finished() == expected
    assert broken.results() == undisturbed.results()
    kept = broken.answers()
    assert len(kept) <= len(undisturbed.answers()) + 2  # no batch but a torn one comes twice
    assert broken.finished() == expected
    assert broken.answers() == kept  # and now nothing is asked


@pytest.mark.long
@pytest.mark.parametrize("number", range(20))
def test_killed_at_random_times(
    measure: Measure, reference: Any, tmp_path: Path, number: int
) -> None:
    _, expected, lasts = reference
    draw = random.Random(number)
    broken = measure(tmp_path / "runs")
    for _ in range(3):
        broken.kill_after(draw.uniform(0, lasts))
    assert broken.finished() == expected
