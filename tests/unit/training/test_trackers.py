"""Trackers, each with its own package and its own files."""

from __future__ import annotations

import io
import sqlite3
import struct
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c
from tests.observers import StopAt

from luthier.config import RunConfig
from luthier.core.console import Console
from luthier.core.errors import PreemptedError, UsageError
from luthier.core.files import read_lines
from luthier.core.secrets import REPLACEMENT
from luthier.records.run_directory import RunDirectory
from luthier.training.observers import StepMetrics
from luthier.training.trackers import require_trackers, tracking
from luthier.training.trackers.base import Opening

TAGS = {
    "train/loss",
    "train/learning_rate",
    "train/gradient_norm",
    "train/tokens_per_second",
    "train/memory_gib",
}


def events(path: Path) -> list[Event]:
    """The records of an event file, each with its checksums checked."""
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body = data[12 : 12 + length]
        assert struct.unpack("<I", data[8:12]) == (masked_crc32c(data[:8]),)
        assert struct.unpack("<I", data[12 + length : 16 + length]) == (masked_crc32c(body),)
        found.append(Event.FromString(body))
        data = data[16 + length :]
    return found


def scalars(run: RunDirectory) -> dict[str, dict[int, float]]:
    """What TensorBoard shows: a session's start takes back what was there of its step and later."""
    shown: dict[str, dict[int, float]] = {}
    for path in sorted(run.tensorboard.iterdir()):
        for event in events(path):
            if event.session_log.status == SessionLog.START:
                shown = {
                    tag: {step: value for step, value in line.items() if step < event.step}
                    for tag, line in shown.items()
                }
            for value in event.summary.value:
                shown.setdefault(value.tag, {})[event.step] = value.simple_value
    return shown


def step(number: int) -> StepMetrics:
    return StepMetrics(
        step=number,
        loss=3.0 / number,
        learning_rate=1e-4,
        gradient_norm=0.5,
        tokens=100,
        tokens_per_second=50.0,
        seconds=2.0,
        memory_bytes=3 * 2**29,
        mfu=0.25,
    )


def attempt(name: str, run: RunDirectory, event: str, first: int, last: int) -> str:
    """A training's part as the tracker sees it; what the console said."""
    said = io.StringIO()
    config = RunConfig.model_validate({"train": {"trackers": [name]}})
    with tracking(config, "lora", run, Console(said)) as observers:
        for observer in observers:
            observer.on_event(event, step=first)
            for number in range(first + 1, last + 1):
                observer.on_step(step(number))
            observer.on_event("validation", step=last, loss=1.5)
    return said.getvalue()


def test_tensorboard_holds_what_the_metrics_hold(small_tune: Any) -> None:
    _, _, run = small_tune(train={"num_validations": 2})
    shown = scalars(run)
    assert shown.keys() == {*TAGS, "validation/loss"}  # no device was planned, so no MFU
    lines = list(read_lines(run.metrics))
    assert shown["train/loss"] == pytest.approx({line["step"]: line["loss"] for line in lines})
    rates = {line["step"]: line["learning_rate"] for line in lines}
    assert shown["train/learning_rate"] == pytest.approx(rates)
    assert shown["train/memory_gib"][1] == pytest.approx(lines[0]["memory_bytes"] / 2**30)
    losses = {e["step"]: e["loss"] for e in read_lines(run.events) if e["event"] == "validation"}
    assert shown["validation/loss"] == pytest.approx(losses)


def test_a_utilisation_above_the_peak_is_not_tracked(tmp_path: Path) -> None:
    """More than 100 % cannot be: the peak was measured on a busy machine."""
    run = RunDirectory.create(tmp_path, "run")
    config = RunConfig.model_validate({"train": {"trackers": ["tensorboard"]}})
    with tracking(config, "lora", run, Console(quiet=True)) as observers:
        for observer in observers:
            observer.on_event("start", step=0)
            observer.on_step(step(1))
            observer.on_step(step(2).model_copy(update={"mfu": 1.09}))
    assert scalars(run)["train/mfu"] == {1: 0.25}


def test_tensorboard_takes_back_what_was_measured_after_the_checkpoint(
    small_tune: Any, tmp_path: Path
) -> None:
    with pytest.raises(PreemptedError):
        small_tune(observers=[StopAt(4)])
    run = RunDirectory(tmp_path / "run")
    attempt("tensorboard", run, "resume", 4, 7)  # an attempt that was killed before it saved
    assert scalars(run)["train/loss"][6] == 0.5
    small_tune()
    lines = {line["step"]: line["loss"] for line in read_lines(run.metrics)}
    assert scalars(run)["train/loss"] == pytest.approx(lines)
    assert len(list(run.tensorboard.iterdir())) == 3


def test_no_tracker_leaves_nothing(small_tune: Any) -> None:
    _, _, run = small_tune(train={"trackers": []})
    assert not run.tensorboard.exists()
    assert len(list(read_lines(run.metrics))) == 10


def test_a_tracker_that_fails_is_left_out_with_one_warning(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "run")
    run.tensorboard.write_text("a file where the folder should be")
    said = attempt("tensorboard", run, "start", 0, 5)
    assert said.count("warning:") == 1
    assert "tensorboard failed and is disabled from now on" in said


@pytest.mark.parametrize("name", ["WANDB_API_KEY", "HF_TOKEN", "MLFLOW_TRACKING_PASSWORD"])
def test_what_a_tracker_says_is_shown_without_keys(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error names the file that is in the way, and the key is in the file's name."""
    key = "wk-0123456789abcdef0123456789"
    monkeypatch.setenv(name, key)
    run = RunDirectory.create(tmp_path, key)
    run.tensorboard.write_text("a file where the folder should be")
    said = attempt("tensorboard", run, "start", 0, 1)
    assert "tensorboard failed and is disabled" in said
    assert REPLACEMENT in said
    assert key not in "".join(said.split())


def test_a_full_disk_does_not_stop_the_training(tmp_path: Path, files_limited_to: Any) -> None:
    run = RunDirectory.create(tmp_path, "run")
    with files_limited_to(1000):
        said = attempt("tensorboard", run, "start", 0, 50)
    assert said.count("warning:") == 1
    (path,) = run.tensorboard.iterdir()
    assert path.stat().st_size <= 1000


def test_what_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(UsageError, match="the tracker wandb needs the package wandb") as caught:
        require_trackers(["wandb"])
    assert caught.value.where == "train.trackers"
    assert "pip install 'luthier[wandb]'" in caught.value.fix
    require_trackers([])


def test_the_identity_is_kept_on_resume_alone(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "run")
    first, resumed, again = (Opening(run, {}, 0, is_resumed) for is_resumed in (False, True, False))
    made = first.identity("wandb")
    assert first.identity("mlflow") != made
    assert resumed.identity("wandb") == made
    assert again.identity("wandb") != made
    (run.path / "wandb-id").write_text("' OR 1=1\n")
    assert len(resumed.identity("wandb")) == len(made)


def test_the_title_of_a_rung_names_its_ladder(tmp_path: Path) -> None:
    ladder = RunDirectory.create(tmp_path, "mine")
    assert Opening(ladder, {}, 0, False).title == "mine"
    assert Opening(ladder.rung("lora"), {}, 0, False).title == "mine-lora"


def test_trackio_keeps_a_run_through_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("trackio")
    from trackio import sqlite_storage

    monkeypatch.setattr(sqlite_storage, "TRACKIO_DIR", tmp_path / "trackio")
    run = RunDirectory.create(tmp_path, "run")
    assert attempt("trackio", run, "start", 0, 3) == ""
    assert attempt("trackio", run, "resume", 3, 5) == ""
    with sqlite3.connect(tmp_path / "trackio" / "luthier.db") as database:
        rows = database.execute("SELECT run_name, step FROM metrics").fetchall()
    assert len({name for name, _ in rows}) == 1
    assert {number for _, number in rows} == set(range(1, 6))
    assert capsys.readouterr().out == ""


def test_wandb_writes_into_the_run_directory(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    run = RunDirectory.create(tmp_path, "run")
    assert attempt("wandb", run, "start", 0, 3) == ""
    (path,) = run.path.glob("wandb/offline-run-*/run-*.wandb")
    assert path.read_bytes().count(b"train/loss") >= 3
    assert b"validation/loss" in path.read_bytes()


def test_mlflow_keeps_a_run_through_a_resume(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    run = RunDirectory.create(tmp_path, "run")
    assert attempt("mlflow", run, "start", 0, 3) == ""
    assert attempt("mlflow", run, "resume", 3, 5) == ""
    client = MlflowClient(f"sqlite:///{run.path}/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("luthier")
    (found,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(found.info.run_id, "train/loss")
    assert [(metric.step, metric.value) for metric in history] == [
        (number, 3.0 / number) for number in range(1, 6)
    ]
    assert found.info.status == "FINISHED"
    assert found.data.params["method"] == "lora"
