"""The stages as functions: what they return, refuse, and leave alone."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.api.configuration import configure, open_run
from luthier.config import RunConfig
from luthier.context.run_or_model import find_target
from luthier.core.console import Console
from luthier.core.errors import DataError, ResourceError, UsageError
from luthier.records.evaluation import EvaluationRecord
from luthier.records.run_directory import RunDirectory
from luthier.records.training import TrainingRecord

pytestmark = pytest.mark.usefixtures("one_thread")
QUIET = Console(quiet=True)


@pytest.fixture
def settings(tiny_llama: Path, quick_settings: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """A small task on a tiny model, with runs below the test's own folder."""
    changes = {"model.id": str(tiny_llama), "output": str(tmp_path / "runs"), "train.epochs": 2}
    return {**quick_settings, **changes}


@pytest.fixture(scope="module")
def rungs(
    tiny_llama: Path, quick_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, Path]:
    """The rungs of a ladder without training."""
    names = ["zero-shot", "one-shot", "few-shot"]
    changes = {"model.id": str(tiny_llama), "adapt.rungs": names}
    output = {"output": str(tmp_path_factory.mktemp("runs"))}
    result = luthier.adapt(None, {**quick_settings, **changes, **output}, QUIET)
    zero, one, few = (result.run.path / "rungs" / name for name in names)
    return zero, one, few


def test_the_stages_are_functions_of_the_package() -> None:
    assert luthier.adapt is luthier.adapt
    assert luthier.tune is luthier.tune
    assert luthier.resume is luthier.resume
    assert luthier.extend is luthier.extend


def test_a_configuration_is_a_file_an_object_or_nothing(tmp_path: Path) -> None:
    assert configure() == RunConfig()
    path = tmp_path / "task.yaml"
    path.write_text("seed: 5\n")
    for config in (path, str(path), RunConfig(seed=5)):
        assert configure(config).seed == 5
        assert configure(config, {"seed": 6, "train.epochs": 3}).train.epochs == 3
        assert configure(config, {"seed": 6}).seed == 6
    with pytest.raises(UsageError, match=r"unknown key 'train\.epoch'"):
        configure(RunConfig(), {"train.epoch": 3})


def test_a_run_is_named_after_what_decides_its_result(tmp_path: Path) -> None:
    """The place and the ladder's settings do not count, so that a ladder can be gone on with."""

    def name(**changes: Any) -> str:
        overrides = {"output": str(tmp_path), **changes}
        return open_run(configure(None, overrides), "adapt", "task", "owner/model").name

    plain = name()
    assert plain.startswith("task-model-adapt-")
    assert name(output=str(tmp_path / "elsewhere")) == plain
    assert name(**{"adapt.rungs": ["lora"], "adapt.budget": "5m"}) == plain
    assert name(seed=1) != plain
    assert name(**{"train.epochs": 3}) != plain
    assert name(name="mine") == "mine"


def test_a_run_is_told_from_a_model(tmp_path: Path) -> None:
    assert find_target(tmp_path, QUIET).run is None
    with pytest.raises(DataError, match="not a run directory"):
        RunDirectory.open(tmp_path)
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    assert find_target(str(tmp_path), QUIET).run == RunDirectory.open(tmp_path)


def test_tuning_is_done_once(settings: dict[str, Any]) -> None:
    first = luthier.tune(None, settings, QUIET)
    assert TrainingRecord.read(first.run.training) == first.training
    weights = first.run.model / "adapter_model.safetensors"
    written = weights.stat().st_mtime_ns
    assert luthier.tune(None, settings, QUIET) == first
    assert weights.stat().st_mtime_ns == written
    with pytest.raises(UsageError, match="another configuration"):
        luthier.tune(None, {**settings, "name": first.run.name, "seed": 1}, QUIET)


def test_a_stored_configuration_goes_on_with_its_run(settings: dict[str, Any]) -> None:
    first = luthier.tune(None, settings, QUIET)
    assert luthier.tune(first.run.config, None, QUIET) == first


def test_more_time_goes_on_where_time_ran_out(settings: dict[str, Any]) -> None:
    """Cut short and continued, the training is the same as in one go."""
    named = {**settings, "name": "boxed"}
    short = luthier.tune(None, {**named, "train.max_time": 0.001}, QUIET)
    assert short.training.stopped == "time"
    assert short.training.steps < short.training.planned_steps
    assert luthier.tune(None, {**named, "train.max_time": 0.001}, QUIET).training == short.training
    longer, whole = luthier.tune(None, named, QUIET), luthier.tune(None, settings, QUIET)
    assert longer.run == short.run
    assert longer.training.stopped == "finished"
    assert longer.training.last_loss == whole.training.last_loss
    files = [result.run.model / "adapter_model.safetensors" for result in (longer, whole)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_tuning_that_does_not_fit_is_refused(settings: dict[str, Any]) -> None:
    for stage in (luthier.tune, lambda *given: luthier.dry_run(*given, kind="tune")):
        with pytest.raises(ResourceError, match=r"1\.0 MiB available") as caught:
            stage(None, {**settings, "adapt.memory": "1MiB"}, QUIET)
        assert "train.micro_batch_tokens" in caught.value.fix


def test_a_tuned_run_is_evaluated_as_such(settings: dict[str, Any]) -> None:
    """The tuned weights answer, not the base model's, and the result is stored in the run."""
    changes = {"method": "full", "train.epochs": 8, "evaluate.metrics": ["chrf"]}
    tuned = luthier.tune(None, {**settings, **changes}, QUIET)
    result = luthier.evaluate(tuned.run.path, console=QUIET)
    assert result.run == tuned.run
    assert result.evaluation.adapter == "full"
    assert EvaluationRecord.read(tuned.run.evaluation("parity")) == result.evaluation
    base = luthier.evaluate(None, None, {**settings, **changes}, QUIET)
    assert base.evaluation.adapter == ""
    assert result.evaluation.metric("chrf").value > base.evaluation.metric("chrf").value + 10


def test_evaluate_reads_a_changed_configuration_of_a_run(settings: dict[str, Any]) -> None:
    tuned = luthier.tune(None, settings, QUIET)
    changed = configure(tuned.run.config, {"evaluate.metrics": ["chrf"]})
    result = luthier.evaluate(tuned.run.path, changed, console=QUIET)
    assert [metric.name for metric in result.evaluation.metrics] == ["chrf"]
    shown = luthier.evaluate(tuned.run.path, None, {"prompt.shots": 2}, QUIET)
    assert shown.evaluation.shots == 2


TEMPLATE = """\
name: sums-{version}
prompt: "{question} {{{{ first }}}}?"
completion: "{{{{ answer }}}}"
metrics: [exact_match]
"""


def test_a_tuned_run_is_asked_in_the_words_it_was_tuned_with(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    """A file that has changed since is refused; another one that is named is only warned of."""
    rows, mine, other = (tmp_path / name for name in ("rows.csv", "mine.yaml", "other.yaml"))
    rows.write_text("first,answer\n" + "".join(f"{n},{n % 3}\n" for n in range(40)))
    mine.write_text(TEMPLATE.format(version="one", question="How much is"))
    changes = {"data.source": str(rows), "prompt.template": str(mine), "train.epochs": 1}
    run = luthier.tune(None, {**settings, **changes}, QUIET).run
    first = luthier.evaluate(run.path, console=QUIET).evaluation.template

    for path in (mine, other):
        path.write_text(TEMPLATE.format(version="two", question="What remains of"))
    asks: tuple[Callable[[], object], ...] = (
        lambda: luthier.evaluate(run.path, console=QUIET),
        lambda: luthier.prompt(run.config, run=run.path, console=QUIET),
    )
    for ask in asks:
        with pytest.raises(UsageError, match=r"sums-one .* sums-two") as caught:
            ask()
        assert "prompt.template" in caught.value.fix
    assert EvaluationRecord.read(run.evaluation("rows")).template == first

    said = io.StringIO()
    named = luthier.evaluate(run.path, None, {"prompt.template": str(other)}, Console(said))
    assert "tuned with the template sums-one" in said.getvalue()
    assert named.evaluation.template.id == "sums-two"


def test_a_run_that_is_not_there_is_no_model(tmp_path: Path) -> None:
    missing = tmp_path / "runs" / "mine"
    with pytest.raises(DataError, match="no such run"):
        luthier.evaluate(missing, None, {"output": str(tmp_path / "runs")}, QUIET)


def test_forecast_predicts_what_training_does(settings: dict[str, Any]) -> None:
    forecast = luthier.dry_run(None, settings, QUIET)
    assert [method.method for method in forecast.methods] == ["prompt-tuning", "lora", "full"]
    assert all(method.fits for method in forecast.methods)
    for method in forecast.methods[1:]:
        training = luthier.tune(None, {**settings, "method": method.method}, QUIET).training
        assert training.trained_parameters == method.trained_parameters
        assert training.planned_steps == method.steps
        assert training.examples == forecast.examples["train"]


def test_forecast_counts_steps_and_their_validations(settings: dict[str, Any]) -> None:
    """Validations are a part of the time, however they are counted."""

    def lora(**more: Any) -> Any:
        loop = {f"train.{name}": value for name, value in more.items()}
        return luthier.dry_run(None, {**settings, "method": "lora", **loop}, QUIET, kind="tune")

    ten, twenty = lora(max_steps=10), lora(max_steps=20)
    assert (ten.max_steps, ten.methods[0].steps, twenty.methods[0].steps) == (10, 10, 20)
    assert lora().max_steps is None
    seconds = [
        lora(max_steps=20, **when).methods[0].seconds
        for when in ({"num_validations": 0}, {"num_validations": 4}, {"validate_every_steps": 1})
    ]
    one = (seconds[1] - seconds[0]) / 4
    assert one > 0
    assert seconds[2] == pytest.approx(seconds[0] + 20 * one)


def test_prompt_asks_the_test_examples(settings: dict[str, Any]) -> None:
    answers = luthier.prompt(None, settings, QUIET, num=2)
    assert len(answers) == 2
    assert all(answer.references[0] in ("even", "odd") for answer in answers)
    assert len({answer.id for answer in answers}) == 2


def test_a_soft_prompt_keeps_its_part_of_the_window_when_it_is_asked(
    settings: dict[str, Any],
) -> None:
    changes = {"method": "prompt-tuning", "methods.prompt-tuning.virtual_tokens": 7}
    run = luthier.tune(None, {**settings, **changes}, QUIET).run
    windows = []
    for asked in (None, run.path):
        with pytest.raises(DataError, match="context window of") as caught:
            luthier.prompt(
                run.config, {"evaluate.max_new_tokens": 10**6}, QUIET, question="Why?", run=asked
            )
        windows.append(int(str(caught.value).split("context window of ")[1].split()[0]))
    assert windows[0] - windows[1] == 7


def test_report_is_written_again(rungs: tuple[Path, Path, Path]) -> None:
    ladder = rungs[0].parent.parent
    (ladder / "report.html").unlink()
    assert luthier.report(ladder) == ladder / "report.html"
    assert "zero-shot" in (ladder / "report.html").read_text()
    with pytest.raises(DataError, match="not a run directory"):
        luthier.report(ladder.parent)
