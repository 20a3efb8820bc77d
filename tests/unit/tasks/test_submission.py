"""Predictions as the leaderboards want them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from luthier.evaluation.asking import load_task
from luthier.records.evaluation import SampleRecord
from luthier.tasks.suite import Suite
from luthier.tasks.task import Task


def sample(identity: str, prediction: str) -> SampleRecord:
    return SampleRecord(
        id=identity, prompt="", prediction=prediction, references=(), scores={}, finish="stop"
    )


def written(name: str, *samples: SampleRecord) -> str:
    task = load_task(name)
    assert isinstance(task, Task)
    assert task.submission is not None
    return task.submission.text(samples)


@pytest.mark.parametrize(
    ("name", "prediction", "expected"),
    [
        ("glue/cola", "1", "1"),
        ("glue/sst2", "positive", "1"),
        ("glue/mrpc", "not_equivalent", "0"),
        ("glue/qqp", "duplicate", "1"),
        ("glue/stsb", "3.25", "3.25"),
        ("glue/mnli", "contradiction", "contradiction"),
        ("glue/wnli", "entailment", "1"),
    ],
)
def test_glue_wants_an_index_and_a_prediction(name: str, prediction: str, expected: str) -> None:
    text = written(name, sample("0", prediction), sample("1", prediction))
    assert text == f"index\tprediction\n0\t{expected}\n1\t{expected}\n"


@pytest.mark.parametrize(
    ("name", "prediction", "expected"),
    [
        ("superglue/boolq", "true", "true"),
        ("superglue/cb", "neutral", "neutral"),
        ("superglue/copa", "1", 1),
        ("superglue/record", "São Paulo", "São Paulo"),
        ("superglue/wsc", "false", "False"),
        ("superglue/axg", "entailment", "entailment"),
    ],
)
def test_superglue_wants_lines_of_json(name: str, prediction: str, expected: Any) -> None:
    assert json.loads(written(name, sample("7", prediction))) == {"idx": 7, "label": expected}


def test_multirc_wants_the_answers_by_question_and_passage() -> None:
    text = written(
        "superglue/multirc", sample("0/0/0", "0"), sample("0/0/1", "1"), sample("0/1/2", "1"),
        sample("3/2/3", "0"),
    )  # fmt: skip
    first, second = map(json.loads, text.splitlines())
    assert first["passage"]["questions"] == [
        {"idx": 0, "answers": [{"idx": 0, "label": 0}, {"idx": 1, "label": 1}]},
        {"idx": 1, "answers": [{"idx": 2, "label": 1}]},
    ]
    assert (first["idx"], second["idx"]) == (0, 3)


def test_every_task_of_both_suites_has_a_file_of_its_own() -> None:
    for name in ("glue", "superglue"):
        suite = load_task(name)
        assert isinstance(suite, Suite)
        files = [load_task(task).submission.file for task in (*suite.tasks, *suite.diagnostics)]  # type: ignore[union-attr]
        assert len(set(files)) == len(files)
