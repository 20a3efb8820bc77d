from __future__ import annotations

import os
from pathlib import Path

import pytest

from luthier.records.run_directory import RunDirectory
from luthier.reports.runs import collect_runs


def test_runs_are_listed_newest_first(adapt_run: RunDirectory, tune_run: RunDirectory) -> None:
    os.utime(adapt_run.config, (1_000, 1_000))
    first, second = collect_runs(adapt_run.path.parent)
    assert (first.name, first.kind, first.status) == ("single", "tune", "done")
    assert first.result.startswith("rougeL 0.2")
    assert (second.name, second.kind, second.status) == ("docstrings", "adapt", "done")
    assert second.result.startswith("lora: rougeL 0.2")
    assert (second.model, second.task) == ("smollm2-135m-instruct", "python-docstrings")
    assert second.created.timestamp() == 1_000


def test_a_folder_that_does_not_exist_has_no_runs(tmp_path: Path) -> None:
    assert collect_runs(tmp_path / "none") == []


def test_other_folders_and_files_are_passed_over(tune_run: RunDirectory) -> None:
    output = tune_run.path.parent
    (output / "notes.txt").write_text("hello")
    (output / "plots").mkdir()
    assert [run.name for run in collect_runs(output)] == ["single"]


BREAKAGES = {
    "config.yaml": b"modle: {}\n",
    "training.json": b"{",
    "evaluation/python-docstrings.json": b"\xff",
}


@pytest.mark.parametrize("file", BREAKAGES)
def test_a_broken_run_is_listed_as_broken_beside_the_others(
    adapt_run: RunDirectory, tune_run: RunDirectory, file: str
) -> None:
    (tune_run.path / file).write_bytes(BREAKAGES[file])
    runs = {run.name: run for run in collect_runs(adapt_run.path.parent)}
    assert runs["docstrings"].status == "done"
    assert runs["single"].status == "broken"
    assert file in runs["single"].result
    assert "\n" not in runs["single"].result


def test_a_run_that_was_interrupted_is_unfinished(
    adapt_run: RunDirectory, tune_run: RunDirectory
) -> None:
    adapt_run.ladder.unlink()
    tune_run.training.unlink()
    statuses = {run.name: run.status for run in collect_runs(adapt_run.path.parent)}
    assert statuses == {"docstrings": "unfinished", "single": "unfinished"}


def test_a_run_out_of_time_is_stopped(tune_run: RunDirectory) -> None:
    record = tune_run.training.read_text().replace('"finished"', '"time"')
    tune_run.training.write_text(record)
    (run,) = collect_runs(tune_run.path.parent)
    assert run.status == "stopped"


def test_a_run_that_only_evaluates_shows_its_metric(tune_run: RunDirectory) -> None:
    tune_run.training.unlink()
    tune_run.metrics.unlink()
    (run,) = collect_runs(tune_run.path.parent)
    assert (run.kind, run.status) == ("evaluate", "done")
    assert run.result.startswith("rougeL")
