"""Figures belong to one model: another one's are not shown as its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.cli.main import run as command
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.records.results import require_tuned_model, set_aside_results, tuned_model
from luthier.records.run_directory import RunDirectory

QUIET = Console(quiet=True)


@pytest.fixture
def tuned(quick_settings: dict[str, Any], tiny_llama: Path, tmp_path: Path) -> RunDirectory:
    """A short tuning that was measured."""
    settings = quick_settings | {
        "model.id": str(tiny_llama), "train.epochs": 1, "output": str(tmp_path), "name": "tuned",
    }  # fmt: skip
    run = luthier.tune(None, settings, QUIET).run
    luthier.evaluate(run.path, None, None, QUIET)
    return run


def test_figures_of_the_model_before_are_set_aside(tuned: RunDirectory, capfd: Any) -> None:
    (before,) = (tuned.path / "evaluation").glob("*y.json")
    figures = before.read_text()
    assert command(["extend", str(tuned.path), "--steps", "3"]) == 0
    assert "earlier" in capfd.readouterr().err
    (kept,) = tuned.path.glob("earlier/step-*")
    assert (kept / "evaluation" / before.name).read_text() == figures
    assert not before.exists()
    assert command(["report", str(tuned.path)]) == 0
    assert "reaches" not in (tuned.path / "report.md").read_text()
    assert command(["evaluate", str(tuned.path)]) == 0
    assert before.exists()


def test_the_same_training_again_keeps_its_figures(tuned: RunDirectory) -> None:
    assert command(["resume", str(tuned.path)]) == 0
    assert list((tuned.path / "evaluation").glob("*.json"))
    assert not (tuned.path / "earlier").exists()


def test_an_extension_beyond_all_bounds_is_refused_before_it_is_written(
    tuned: RunDirectory, capfd: Any
) -> None:
    assert command(["extend", str(tuned.path), "--epochs", "1e300"]) == 2
    assert "epochs" in capfd.readouterr().err
    assert not tuned.extensions.exists()
    assert command(["resume", str(tuned.path)]) == 0


def test_a_training_that_goes_on_does_not_make_its_model_wrong(
    tuned: RunDirectory, capfd: Any
) -> None:
    last = json.loads(tuned.metrics.read_text().splitlines()[-1])
    with tuned.metrics.open("a") as stream:  # as an extension that was killed leaves it
        stream.write(json.dumps(last | {"step": last["step"] + 1, "loss": 0.5}) + "\n")
    for asked in ("report", "evaluate"):
        assert command([asked, str(tuned.path)]) == 0
        assert "luthier resume" in " ".join(capfd.readouterr().err.split())


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    "asked", [("evaluate",), ("prompt", "--input", "Hi?", "--run"), ("merge",)]
)
def test_an_unfinished_tuning_is_no_model(
    asked: tuple[str, ...], tuned: RunDirectory, capfd: Any
) -> None:
    shutil.rmtree(tuned.model)
    tuned.training.unlink()
    kept = json.dumps(sorted(path.name for path in tuned.path.rglob("*")))
    assert command([*asked, str(tuned.path)]) == 3
    assert "not finished" in capfd.readouterr().err
    assert json.dumps(sorted(path.name for path in tuned.path.rglob("*"))) == kept


@pytest.mark.sample(2)
@pytest.mark.parametrize("place", ["full", "file", "tuned/model", "link"])
def test_merging_replaces_nothing(
    place: str, tuned: RunDirectory, tmp_path: Path, capfd: Any
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    assert command(["merge", str(tuned.path), "--output", str(tmp_path / place)]) == 2
    assert "choose a new or empty folder" in capfd.readouterr().err
    before.pop(tuned.lock, None)
    assert (
        before.items()
        <= {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}.items()
    )


def test_an_adapt_run_has_no_model_of_its_own(tuned: RunDirectory, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "ladder")
    (run.path / "rungs").mkdir(parents=True)
    shutil.copytree(tuned.path, run.path / "rungs" / "lora")
    with pytest.raises(DataError, match="several models"):
        tuned_model(run)
    assert tuned_model(run.rungs()[0]) == run.rungs()[0].model


def test_a_run_that_measures_a_model_as_it_is(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert tuned_model(run) is None
    with pytest.raises(DataError, match="no tuned model"):
        require_tuned_model(run)
    assert set_aside_results(run, 4) is None
    assert not list(tmp_path.iterdir())


def test_a_report_by_itself_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "report.html").touch()
    assert set_aside_results(RunDirectory(tmp_path), 4) is None
    assert (tmp_path / "report.html").exists()


def test_nothing_set_aside_is_replaced(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    for number, name in enumerate(("step-000004", "step-000004-2", "step-000004-3")):
        (tmp_path / "forgetting.json").write_text(str(number))
        assert set_aside_results(run, 4) == tmp_path / "earlier" / name
    texts = [path.read_text() for path in sorted(tmp_path.glob("earlier/*/forgetting.json"))]
    assert texts == ["0", "1", "2"]
