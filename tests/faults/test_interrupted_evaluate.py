"""An evaluation that is killed loses at most the batch in flight, and goes on."""

from __future__ import annotations

import itertools
import json
import random
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.command_server import CommandServer
from tests.faults.conftest import Moment, Run

from luthier.core.files import read_lines
from luthier.records.evaluation import EvaluationRecord

TASK = """\
name: parity
kind: choices
files: {splits: {test: numbers.jsonl}}
prompt: "Is {{ number }} even or odd? It is"
label: "{{ parity }}"
choices: {0: even, 1: odd}
metrics: [acc, acc_norm]
"""


class Case(NamedTuple):
    """What is measured, and how many answers are kept together."""

    arguments: list[str]
    settings: dict[str, Any]
    batch: int


class Evaluation(Run):
    """One evaluation, and what it leaves."""

    def __init__(self, server: CommandServer, output: Path, case: Case) -> None:
        super().__init__(server, "evaluate", output, case.settings)
        self.command[1:1] = case.arguments

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


@pytest.fixture(scope="module")
def generated(tiny_llama: Path, quick_settings: dict[str, Any]) -> Case:
    """Many batches of two, each of them slow enough to be killed in."""
    chosen = {k: v for k, v in quick_settings.items() if k.startswith(("data", "evaluate"))}
    slow = {"evaluate.batch_tokens": 350, "evaluate.max_new_tokens": 100, "data.test_fraction": 0.8}
    model = {"model.id": str(tiny_llama), "evaluate.general_text": None}
    return Case([], {**chosen, **slow, **model}, batch=2)


@pytest.fixture(scope="module")
def scored(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A benchmark task with eight parts of 512 scores."""
    folder = tmp_path_factory.mktemp("task")
    rows = (json.dumps({"number": n, "parity": n % 2}) + "\n" for n in range(2_000))
    (folder / "numbers.jsonl").write_text("".join(rows), encoding="utf-8")
    (folder / "parity.yaml").write_text(TASK, encoding="utf-8")
    task = [str(tiny_llama), "--tasks", str(folder / "parity.yaml")]
    return Case(task, {"model.dtype": "float32", "evaluate.resamples": 100}, batch=512)


@pytest.fixture(scope="module", params=["generated", "scored"])
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def reference(
    command_server: CommandServer, case: Case, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """The evaluation that nobody disturbs, what it gives, and how many seconds it takes."""
    folder = tmp_path_factory.mktemp("undisturbed") / "runs"
    undisturbed = Evaluation(command_server, folder, case)
    started = time.monotonic()
    return undisturbed, undisturbed.finished(), time.monotonic() - started


@pytest.mark.sample(1)
def test_killed_twice_and_gone_on_with(
    command_server: CommandServer, case: Case, reference: Any, tmp_path: Path
) -> None:
    undisturbed, expected, _ = reference
    broken = Evaluation(command_server, tmp_path / "runs", case)
    broken.kill(lambda: len(broken.answers()) >= 2 * case.batch)
    first = broken.answers()
    assert 2 * case.batch <= len(first) < len(undisturbed.answers())
    assert not list(broken.run.glob("evaluation/*.samples.jsonl"))
    broken.kill(lambda: len(broken.answers()) >= len(first) + 2 * case.batch)
    assert broken.answers()[: len(first)] == first
    assert broken.finished() == expected
    assert broken.results() == undisturbed.results()
    kept = broken.answers()
    # No batch but a torn one comes twice.
    assert len(kept) <= len(undisturbed.answers()) + case.batch
    assert broken.finished() == expected
    assert broken.answers() == kept  # and now nothing is asked


@pytest.mark.long
@pytest.mark.parametrize("number", range(25))
def test_killed_at_random_times(
    command_server: CommandServer, case: Case, reference: Any, tmp_path: Path, number: int
) -> None:
    """Killed up to three times, once at least; one that was over before does not count."""
    _, expected, lasts = reference
    draw = random.Random(number)
    for attempt in itertools.count():
        broken = Evaluation(command_server, tmp_path / f"runs-{attempt}", case)
        codes = [broken.kill_after(draw.uniform(0, lasts)) for _ in range(3)]
        if -signal.SIGKILL in codes:
            break
    assert broken.finished() == expected
