"""Whatever a command is given, one place decides what it works on."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.api.results import AdaptResult
from luthier.cli.main import run as command
from luthier.context.run_or_model import Target, find_target
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.files import read_json, write_json
from luthier.records.evaluation import EvaluationRecord
from luthier.records.run_directory import RunDirectory

pytestmark = pytest.mark.usefixtures("one_thread")
QUIET = Console(quiet=True)
RUNGS = ["zero-shot", "few-shot", "full"]


@pytest.fixture(scope="module")
def ladder(
    tiny_llama: Path, quick_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> AdaptResult:
    changes = {"model.id": str(tiny_llama), "adapt.rungs": RUNGS}
    output = {"output": str(tmp_path_factory.mktemp("runs")), "name": "ladder"}
    return luthier.adapt(None, {**quick_settings, **changes, **output}, QUIET)


@pytest.fixture
def recommending(ladder: AdaptResult, tmp_path: Path) -> Any:
    """A copy of the ladder that recommends a rung of one's choice."""

    def recommend(name: str | None) -> RunDirectory:
        copied = RunDirectory(Path(shutil.copytree(ladder.run.path, tmp_path / str(name))))
        table = read_json(copied.ladder)
        table["recommendation"]["rung"] = name
        write_json(copied.ladder, table)
        return copied

    return recommend


@pytest.mark.parametrize("name", RUNGS)
def test_an_adapt_run_stands_for_the_rung_that_it_recommends(name: str, recommending: Any) -> None:
    run, said = recommending(name), io.StringIO()
    target = find_target(run.path, Console(said))
    assert target.run == RunDirectory(run.path / "rungs" / name)
    assert target.tuned == (target.run.model if name == "full" else None)
    assert f"recommends: {name}" in " ".join(said.getvalue().split())
    said = io.StringIO()
    assert find_target(target.run.path, Console(said)) == target
    assert said.getvalue() == ""


@pytest.mark.parametrize("name", RUNGS)
def test_evaluating_an_adapt_run_gives_the_figures_of_its_ladder(
    name: str, recommending: Any
) -> None:
    """With the worked examples of its rung, and with its model."""
    run = recommending(name)
    measured = EvaluationRecord.read(
        next((run.path / "rungs" / name / "evaluation").glob("*.json"))
    )
    found = luthier.evaluate(run.path, None, {"model.id": stored_model(run)}, QUIET)
    assert found.run.path == run.path / "rungs" / name
    assert found.evaluation.shots == measured.shots == (3 if name == "few-shot" else 0)
    assert found.evaluation.metrics == measured.metrics
    assert found.evaluation.adapter == ("full" if name == "full" else "")


def stored_model(run: RunDirectory) -> str:
    return luthier.api.configuration.configure(run.config).model.id


COMMANDS = ("evaluate", "prompt", "merge", "compare", "sample-size", "forgetting")


@pytest.mark.parametrize("asked", COMMANDS)
def test_every_command_takes_an_adapt_run(asked: str, recommending: Any, capfd: Any) -> None:
    run = recommending("full")
    path, few = str(run.path), str(run.path / "rungs" / "few-shot")
    model = f"model.id={stored_model(run)}"
    commands = {
        "evaluate": ["evaluate", path, model],
        "prompt": ["prompt", "--run", path, "--input", "Is 3 odd?", model],
        "merge": ["merge", path, model],
        "compare": ["compare", few, path],
        "sample-size": ["sample-size", "0.1", path],
        "forgetting": ["forgetting", path, "--before", few, model],
    }
    code = command(commands[asked])
    said = " ".join(capfd.readouterr().err.split())
    assert f"{path} stands for the rung that it recommends: full" in said
    assert said.count("stands for") == 1
    # Full tuning has no adapter to merge: that this is what is said shows whose run it is.
    assert code == (2 if asked == "merge" else 0), said


@pytest.mark.parametrize("asked", COMMANDS)
@pytest.mark.parametrize("state", ["none", "unfinished", "begun"])
def test_without_a_recommended_rung_every_command_says_so(
    asked: str, state: str, recommending: Any, capfd: Any
) -> None:
    run = recommending(None)
    if state != "none":
        run.ladder.unlink()
    if state == "begun":  # before the first rung
        shutil.rmtree(run.path / "rungs")
    path = str(run.path)
    commands = {
        "evaluate": ["evaluate", path],
        "prompt": ["prompt", "--run", path, "--input", "Is 3 odd?"],
        "merge": ["merge", path],
        "compare": ["compare", path, path],
        "sample-size": ["sample-size", "0.1", path],
        "forgetting": ["forgetting", path],
    }
    assert command(commands[asked]) == DataError.exit_code
    said = " ".join(capfd.readouterr().err.split())
    assert "recommends no rung" in said
    assert state == "none" or f"luthier resume {path}" in said
    assert (f"{path}/rungs/few-shot" in said) == (state != "begun")


@pytest.mark.parametrize("name", ["gone", "../../other"])
def test_a_recommendation_leads_to_no_other_folder(
    name: str, recommending: Any, tmp_path: Path
) -> None:
    run = recommending(None)
    table = read_json(run.ladder)
    run.ladder.write_text(
        json.dumps(table | {"recommendation": table["recommendation"] | {"rung": name}})
    )
    with pytest.raises(DataError, match="recommends no rung"):
        find_target(run.path, QUIET)


@pytest.mark.parametrize(
    "name", ["smollm2-135m-instruct", "owner/model", "a/model.gguf", "http://127.0.0.1:1/v1", "."]
)
def test_what_is_no_run_is_a_model(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_target(name, QUIET) == Target(model=name)
    assert find_target(None, QUIET) == Target()


def test_a_run_that_is_not_there_is_no_model_of_the_hub(tmp_path: Path) -> None:
    target = find_target(tmp_path / "runs" / "gone", QUIET)
    with pytest.raises(DataError, match="there is no such run"):
        target.require_present(tmp_path / "runs")
    target.require_present(tmp_path / "elsewhere")
