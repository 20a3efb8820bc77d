"""Results by class, reliability and abstention are stored, and recomputed where they are read."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from tests.records import evaluation_record

from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.evaluation import verified
from luthier.evaluation.details import with_details
from luthier.evaluation.metrics import get_metric
from luthier.evaluation.runner import judge
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.evaluation.store import load_evaluation, write_evaluation
from luthier.evaluation.task import Evaluation
from luthier.records.evaluation import SampleRecord
from luthier.records.run_directory import RunDirectory

LABELS = ("a", "b", "c")
RESAMPLING = Resampling(seed=0, resamples=100, confidence=0.9)


def samples(n: int = 24, *, likelihoods: bool = True) -> list[SampleRecord]:
    draw = random.Random(1)
    found = []
    for number in range(n):
        scores = [draw.gauss(0, 1.5) for _ in LABELS]
        total = math.log(sum(math.exp(score) for score in scores))
        logprobs = tuple(score - total for score in scores)
        found.append(
            SampleRecord(
                id=str(number), group=str(number // 2), prompt="",
                prediction=LABELS[logprobs.index(max(logprobs))],
                references=(draw.choice(LABELS),), choices=LABELS, scores={}, finish="stop",
                words=LABELS if likelihoods else (), likelihoods=logprobs if likelihoods else (),
            )
        )  # fmt: skip
    return found


def evaluated(
    answered: list[SampleRecord], threshold: float | None, console: Console
) -> Evaluation:
    metrics = [get_metric("accuracy")]
    results, scored = judge(answered, metrics, RESAMPLING, console)
    record = evaluation_record(
        "task", *results, seed=RESAMPLING.seed, resamples=RESAMPLING.resamples
    )
    return with_details(Evaluation(record, scored), RESAMPLING, threshold, console)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path, "run")


def places(values: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The places of the numbers and texts of a document."""
    if isinstance(values, dict | list):
        for key, value in values.items() if isinstance(values, dict) else enumerate(values):
            yield from places(value, (*at, key))
    else:
        yield at


def test_details_are_read_back(run: RunDirectory, console: Console) -> None:
    made = evaluated(samples(), 0.7, console)
    write_evaluation(run, *made)
    verified._verified.clear()
    read = load_evaluation(run, "task")
    assert read == made
    assert read.record.by_class is not None
    assert read.record.reliability is not None
    assert read.record.abstention is not None
    assert read.record.abstention.threshold == 0.7


def test_a_changed_detail_is_noticed(run: RunDirectory, console: Console) -> None:
    """Whatever it is; the level and the threshold are choices, at which figures are recomputed."""
    write_evaluation(run, *evaluated(samples(), 0.7, console))
    path = run.evaluation("task")
    original = json.loads(path.read_text())
    details = {name: original[name] for name in ("by_class", "reliability", "abstention")}
    tried = 0
    for place in places(details):
        if place == ("abstention", "threshold"):
            continue
        document = json.loads(json.dumps(original))
        part = document
        for key in place[:-1]:
            part = part[key]
        value = part[place[-1]]
        part[place[-1]] = (
            f"{value}x" if isinstance(value, str) else 0.5 if value is None
            else value + 1 if isinstance(value, int) else abs(value - 0.01)
        )  # fmt: skip
        path.write_text(json.dumps(document))
        with pytest.raises(DataError):
            load_evaluation(run, "task")
        tried += 1
    assert tried > 200


def test_a_class_that_is_left_out_is_noticed(run: RunDirectory, console: Console) -> None:
    write_evaluation(run, *evaluated(samples(), None, console))
    path = run.evaluation("task")
    document = json.loads(path.read_text())
    report = document["by_class"]
    report["classes"].pop()
    report["confusion"] = [row[:2] + row[3:] for row in report["confusion"][:2]]
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"by_class, .* is stored, but"):
        load_evaluation(run, "task")


def test_records_of_earlier_versions_have_no_details(run: RunDirectory, console: Console) -> None:
    write_evaluation(run, *evaluated(samples(), None, console))
    path = run.evaluation("task")
    document = json.loads(path.read_text())
    for name in ("by_class", "reliability", "abstention"):
        del document[name]
    path.write_text(json.dumps(document))
    assert load_evaluation(run, "task").record.by_class is None


def test_a_threshold_without_probabilities_is_told(console: Console, shown: StringIO) -> None:
    record = evaluated(samples(likelihoods=False), 0.7, console).record
    assert record.by_class is not None
    assert record.reliability is record.abstention is None
    assert "evaluate.abstain has no effect on task" in " ".join(shown.getvalue().split())
