"""An evaluation that is killed loses at most the batch in flight, and goes on."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from luthier.core.files import read_lines
from luthier.core.records import EvaluationRecord

_PATIENCE_SECONDS = 300
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
    batch: int


class Evaluation:
    """One evaluation in a folder of its own, started as often as is needed."""

    def __init__(self, server: Any, output: Path, case: Case) -> None:
        self._server = server
        self.run = output / "measured"
        place = ["name=measured", f"output={json.dumps(str(output))}"]
        self._command = ["evaluate", *case.arguments, *place]

    def finish(self) -> dict[str, Any]:
        """Run to the end: the record without its time, and the samples."""
        self._server.start(self._command)
        assert self._server.wait() == 0, self._server.log
        (path,) = self.run.glob("evaluation/*.samples.jsonl")
        record = EvaluationRecord.read(path.with_name(path.name.replace(".samples.jsonl", ".json")))
        return {
            "record": record.model_dump(exclude={"seconds"}),
            "samples": path.read_text(encoding="utf-8"),
        }

    def kill(self, moment: Callable[[], bool]) -> None:
        process = self._server.start(self._command)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not moment():
            assert time.monotonic() < deadline, self._server.log
            time.sleep(0.002)
        with contextlib.suppress(ProcessLookupError):  # it was over, and was waited for
            os.kill(process, signal.SIGKILL)
        self._server.wait()

    def answers(self) -> list[Any]:
        """What is kept."""
        paths = self.run.glob("evaluation/*.answers.jsonl")
        return [line for path in paths for line in read_lines(path)]

    def results(self) -> dict[str, Any]:
        """The kept answers by key, without the time that they took."""
        return {line["key"]: line["value"]["result"] for line in self.answers()}


def words(settings: dict[str, Any]) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in settings.items()]


@pytest.fixture(scope="module")
def generated(tiny_llama: Path, quick_settings: dict[str, Any]) -> Case:
    """Many batches of two, each of them slow enough to be killed in."""
    chosen = {k: v for k, v in quick_settings.items() if k.startswith(("data", "evaluate"))}
    slow = {"evaluate.batch_tokens": 350, "evaluate.max_new_tokens": 100, "data.test_fraction": 0.8}
    model = {"model.id": str(tiny_llama), "evaluate.general_text": None}
    return Case(words({**chosen, **slow, **model}), batch=2)


@pytest.fixture(scope="module")
def scored(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A benchmark task with eight parts of 512 scores."""
    folder = tmp_path_factory.mktemp("task")
    rows = (json.dumps({"number": n, "parity": n % 2}) + "\n" for n in range(2_000))
    (folder / "numbers.jsonl").write_text("".join(rows), encoding="utf-8")
    (folder / "parity.yaml").write_text(TASK, encoding="utf-8")
    settings = {"model.dtype": "float32", "evaluate.resamples": 100}
    task = ["--tasks", str(folder / "parity.yaml")]
    return Case([str(tiny_llama), *task, *words(settings)], batch=512)


@pytest.fixture(scope="module", params=["generated", "scored"])
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def reference(server: Any, case: Case, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The evaluation that nobody disturbs, what it gives, and how many seconds it takes."""
    undisturbed = Evaluation(server, tmp_path_factory.mktemp("undisturbed"), case)
    started = time.monotonic()
    return undisturbed, undisturbed.finish(), time.monotonic() - started


def test_killed_twice_and_gone_on_with(
    server: Any, case: Case, reference: Any, tmp_path: Path
) -> None:
    undisturbed, expected, _ = reference
    broken = Evaluation(server, tmp_path, case)
    broken.kill(lambda: len(broken.answers()) >= 2 * case.batch)
    first = broken.answers()
    assert 2 * case.batch <= len(first) < len(undisturbed.answers())
    assert not list(broken.run.glob("evaluation/*.samples.jsonl"))
    broken.kill(lambda: len(broken.answers()) >= len(first) + 2 * case.batch)
    assert broken.answers()[: len(first)] == first
    assert broken.finish() == expected
    assert broken.results() == undisturbed.results()
    kept = broken.answers()
    # No batch but a torn one comes twice.
    assert len(kept) <= len(undisturbed.answers()) + case.batch
    assert broken.finish() == expected
    assert broken.answers() == kept  # and now nothing is asked


@pytest.mark.long
@pytest.mark.parametrize("number", range(20))
def test_killed_at_random_times(
    server: Any, case: Case, reference: Any, tmp_path: Path, number: int
) -> None:
    _, expected, lasts = reference
    draw = random.Random(number)
    broken = Evaluation(server, tmp_path, case)
    for _ in range(3):
        moment = time.monotonic() + draw.uniform(0, lasts)
        broken.kill(lambda moment=moment: time.monotonic() > moment)
    assert broken.finish() == expected
