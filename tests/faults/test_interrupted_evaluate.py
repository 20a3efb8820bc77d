"""An evaluation that is killed loses at most the batch in flight, and goes on."""

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

from luthier.core.files import read_lines
from luthier.core.records import EvaluationRecord

_PATIENCE_SECONDS = 120
_MEASURED = {"seconds"}


class Evaluation:
    """One evaluation in a folder of its own, started as often as is needed."""

    def __init__(self, output: Path, settings: dict[str, Any]) -> None:
        self.run = output / "measured"
        self._log = output / "log.txt"
        chosen = {**settings, "name": "measured", "output": str(output)}
        self._arguments = [f"{key}={json.dumps(value)}" for key, value in chosen.items()]
        output.mkdir(exist_ok=True)

    def start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "luthier", "evaluate", *self._arguments],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
            )

    def finish(self) -> dict[str, Any]:
        """Run to the end: the record without its time, and the samples."""
        assert self.start().wait(_PATIENCE_SECONDS) == 0, self._log.read_text()
        (path,) = self.run.glob("evaluation/*.samples.jsonl")
        record = EvaluationRecord.read(path.with_name(path.name.replace(".samples.jsonl", ".json")))
        return {
            "record": record.model_dump(exclude=_MEASURED),
            "samples": path.read_text(encoding="utf-8"),
        }

    def kill(self, moment: Callable[[], bool]) -> None:
        process = self.start()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not moment():
            assert process.poll() is None, "it ended before the moment came"
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait(_PATIENCE_SECONDS)

    def answers(self) -> list[Any]:
        """What is kept."""
        return [
            line
            for path in self.run.glob("evaluation/*.answers.jsonl")
            for line in read_lines(path)
        ]


@pytest.fixture(scope="module")
def settings(tiny_llama: Path, quick_settings: dict[str, Any]) -> dict[str, Any]:
    """Many small batches, each of them slow enough to be killed in."""
    chosen = {k: v for k, v in quick_settings.items() if k.startswith(("data", "evaluate"))}
    slow = {"evaluate.batch_tokens": 350, "evaluate.max_new_tokens": 100, "data.test_fraction": 0.8}
    return {**chosen, **slow, "model.id": str(tiny_llama), "evaluate.general_text": None}


def test_killed_twice_and_gone_on_with(settings: dict[str, Any], tmp_path: Path) -> None:
    reference = Evaluation(tmp_path / "reference", settings)
    expected = reference.finish()
    broken = Evaluation(tmp_path / "broken", settings)
    broken.kill(lambda: len(broken.answers()) >= 4)
    first = broken.answers()
    assert 4 <= len(first) < len(reference.answers())
    assert not list(broken.run.glob("evaluation/*.samples.jsonl"))
    broken.kill(lambda: len(broken.answers()) >= len(first) + 4)
    assert broken.answers()[: len(first)] == first
    assert broken.finish() == expected
    kept = [(line["key"], line["value"]["result"]) for line in broken.answers()]
    whole = [(line["key"], line["value"]["result"]) for line in reference.answers()]
    assert dict(kept) == dict(whole)
    assert len(kept) - len(whole) <= 2 * 2  # a torn batch comes twice; a batch has two answers
    again = broken.answers()
    assert broken.finish() == expected
    assert broken.answers() == again  # and now nothing is asked


@pytest.mark.long
@pytest.mark.parametrize("number", range(20))
def test_killed_at_random_times(settings: dict[str, Any], tmp_path: Path, number: int) -> None:
    reference = Evaluation(tmp_path / "reference", settings)
    started = time.monotonic()
    expected = reference.finish()
    lasts = time.monotonic() - started
    draw = random.Random(number)
    broken = Evaluation(tmp_path / "broken", settings)
    for _ in range(3):
        process = broken.start()
        time.sleep(draw.uniform(0, lasts))
        process.kill()
        process.wait(_PATIENCE_SECONDS)
    assert broken.finish() == expected
