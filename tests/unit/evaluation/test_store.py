from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from luthier.core.errors import DataError
from luthier.evaluation.store import load_evaluation, load_samples, write_evaluation
from luthier.evaluation.task import Evaluation
from luthier.records.run_directory import RunDirectory

Make = Callable[..., Evaluation]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path, "run")


def test_what_is_written_is_read_back(run: RunDirectory, evaluation: Make) -> None:
    made = evaluation(["ä", "b\nc"], ["a", "b"])
    write_evaluation(run, *made)
    assert load_evaluation(run, "task") == made
    assert load_samples(run, "task") == made.samples


def test_an_evaluation_that_is_not_there(run: RunDirectory) -> None:
    with pytest.raises(DataError, match="holds no evaluation of 'task'"):
        load_evaluation(run, "task")


def test_lost_samples_are_noticed(run: RunDirectory, evaluation: Make) -> None:
    write_evaluation(run, *evaluation(["a", "b"], ["a", "b"]))
    path = run.samples("task")
    path.write_text(path.read_text().splitlines(keepends=True)[0])
    with pytest.raises(DataError, match="1 samples are stored, but 2 were measured"):
        load_evaluation(run, "task")


def test_a_line_that_is_no_sample_is_named(run: RunDirectory, evaluation: Make) -> None:
    write_evaluation(run, *evaluation(["a"], ["a"]))
    path = run.samples("task")
    path.write_text(path.read_text() + '{"id": "x"}\n')
    with pytest.raises(DataError) as caught:
        load_samples(run, "task")
    assert caught.value.where == f"{path}:2"
