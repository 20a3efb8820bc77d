"""The whole ladder on tiny models, through the API."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.api.configuration import configure
from luthier.api.results import AdaptResult
from luthier.context import base_model
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.files import read_lines
from luthier.methods import load
from luthier.records.contamination import Contamination
from luthier.records.evaluation import SampleRecord
from luthier.records.ladder import LadderRecord, RungRecord
from luthier.records.training import TrainingRecord

RUNGS = ("zero-shot", "one-shot", "few-shot", "prompt-tuning", "lora", "full")
TUNED = RUNGS[3:]

pytestmark = pytest.mark.usefixtures("one_thread")


def adapt(settings: dict[str, Any], output: Path, **changes: Any) -> AdaptResult:
    """Climb with changed settings; ``__`` stands for the dot of a key."""
    changed = {key.replace("__", "."): value for key, value in changes.items()}
    overrides = {**settings, "output": str(output), **changed}
    return luthier.adapt(None, overrides, Console(quiet=True))


def by_name(ladder: LadderRecord) -> dict[str, RungRecord]:
    return {rung.name: rung for rung in ladder.rungs}


def samples_of(result: AdaptResult, rung: str) -> list[SampleRecord]:
    path = result.run.rung(rung).samples(result.ladder.task)
    return [SampleRecord.model_validate(line) for line in read_lines(path)]


@pytest.fixture(scope="module")
def llama_settings(tiny_llama: Path, quick_settings: dict[str, Any]) -> dict[str, Any]:
    return {**quick_settings, "model.id": str(tiny_llama)}


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_t5"])
def whole(
    request: pytest.FixtureRequest,
    quick_settings: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> AdaptResult:
    """All rungs of a decoder-only and of an encoder-decoder model."""
    model = request.getfixturevalue(request.param)
    return adapt({**quick_settings, "model.id": str(model)}, tmp_path_factory.mktemp("runs"))


def test_every_rung_is_measured(whole: AdaptResult) -> None:
    assert [(rung.name, rung.status) for rung in whole.ladder.rungs] == [(r, "done") for r in RUNGS]
    for rung in whole.ladder.rungs:
        assert rung.metric is not None
        assert rung.metric.low <= rung.metric.value <= rung.metric.high
        assert [metric.name for metric in rung.metrics] == ["exact_match", "chrf"]
        assert rung.evaluate_seconds > 0
        assert rung.peak_memory_bytes > 0


def test_what_is_stored_is_what_was_returned(whole: AdaptResult) -> None:
    assert LadderRecord.read(whole.run.ladder) == whole.ladder
    assert whole.report == whole.run.report_html
    for text in (whole.report.read_text(), whole.run.report_markdown.read_text()):
        assert all(rung in text for rung in RUNGS)
    markdown = whole.run.report_markdown.read_text().replace("\\", "")
    assert whole.ladder.recommendation.sentence in markdown


def test_all_rungs_answer_the_same_questions(whole: AdaptResult) -> None:
    """Paired tests are only fair on the same examples with the same references."""
    asked = [[(s.id, s.references) for s in samples_of(whole, rung)] for rung in RUNGS]
    assert len(asked[0]) == whole.ladder.examples["test"] >= 10
    assert all(other == asked[0] for other in asked)


def test_shots_stand_in_the_prompts(whole: AdaptResult) -> None:
    shown = [samples_of(whole, rung)[0].prompt.count("Is the number") for rung in RUNGS]
    assert shown == [1, 2, 4, 1, 1, 1]


def test_gains_are_corrected_for_their_number(whole: AdaptResult) -> None:
    first, *others = whole.ladder.rungs
    assert first.gain is None
    for rung in others:
        assert rung.gain is not None
        assert rung.gain.n == whole.ladder.examples["test"]
        assert rung.gain.p / 2 <= rung.gain.p_adjusted <= 1


def test_tuned_rungs_leave_a_model_and_what_it_cost(whole: AdaptResult) -> None:
    trained = []
    for name in TUNED:
        run, rung = whole.run.rung(name), by_name(whole.ladder)[name]
        assert rung.training == TrainingRecord.read(run.training)
        assert rung.training.steps == rung.training.planned_steps
        steps = [line["step"] for line in read_lines(run.metrics)]
        assert steps == list(range(1, rung.training.steps + 1))
        assert any(run.model.glob("*.safetensors"))
        assert rung.artifact_bytes > 0
        assert rung.forgetting is not None
        assert rung.forgetting.value == pytest.approx(
            rung.forgetting.after - rung.forgetting.before
        )
        trained.append(rung.trained_parameters)
    assert trained == sorted(trained)
    assert trained[-1] == whole.ladder.model.parameters


def test_prompting_rungs_train_and_forget_nothing(whole: AdaptResult) -> None:
    for name in RUNGS[:3]:
        rung = by_name(whole.ladder)[name]
        assert rung.training is None
        assert rung.forgetting is None
        assert rung.trained_parameters == rung.artifact_bytes == 0


def test_full_tuning_learns_the_words(whole: AdaptResult) -> None:
    """A random model knows no word of the answer; after training it gives one of the two."""
    answers = {sample.prediction for sample in samples_of(whole, "full")}
    assert answers & {"even", "odd"}
    full = by_name(whole.ladder)["full"]
    assert full.training is not None
    assert full.training.last_loss < full.training.first_loss / 2


def test_a_finished_run_is_not_repeated(
    llama_settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adding a rung measures that rung alone; the model of a tuned one is not touched."""
    settings = {**llama_settings, "train.epochs": 1}
    first = adapt(settings, tmp_path, adapt__rungs=["zero-shot", "full"])
    marks = {path: path.stat().st_mtime_ns for path in first.run.path.rglob("rung.json")}
    weights = first.run.rung("full").model / "model.safetensors"
    written = weights.stat().st_mtime_ns
    second = adapt(settings, tmp_path, adapt__rungs=["zero-shot", "lora", "full"])
    assert second.run == first.run
    assert {path: path.stat().st_mtime_ns for path in marks} == marks
    assert weights.stat().st_mtime_ns == written
    before, after = by_name(first.ladder), by_name(second.ladder)
    assert [*after] == ["zero-shot", "lora", "full"]
    for name in before:
        assert after[name].metrics == before[name].metrics
        assert after[name].training == before[name].training


def test_the_target_decides(llama_settings: dict[str, Any], tmp_path: Path) -> None:
    """Any value reaches a target of 0, so the cheapest rung with usable answers is it.

    The others run all the same. A random model's answers are never usable.
    """
    settings = {**llama_settings, "adapt.rungs": ["zero-shot", "nearest", "few-shot"]}
    all_run = adapt(settings, tmp_path, adapt__target=0.0)
    assert all_run.ladder.recommendation.rung == "nearest"
    assert {rung.status for rung in all_run.ladder.rungs} == {"done"}


def test_rungs_above_the_target_can_be_left_out(
    llama_settings: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**llama_settings, "adapt.baselines": ["nearest"]}
    result = adapt(settings, tmp_path, adapt__target=0.0, adapt__stop_at_target=True)
    first, *others = result.ladder.rungs
    assert first.status == "done"
    assert {(r.status, r.reason) for r in others} == {
        ("skipped", "a cheaper rung has reached the target")
    }
    assert not any((result.run.path / "rungs" / rung.name).exists() for rung in others)


def test_a_target_out_of_reach(llama_settings: dict[str, Any], tmp_path: Path) -> None:
    settings = {**llama_settings, "adapt.rungs": ["nearest", "few-shot"]}
    recommendation = adapt(settings, tmp_path, adapt__target=1.0).ladder.recommendation
    assert recommendation.rung is None
    assert "No rung reaches the target of 1" in recommendation.sentence


def test_no_time_at_all(llama_settings: dict[str, Any], tmp_path: Path) -> None:
    ladder = adapt(llama_settings, tmp_path, adapt__budget="0s").ladder
    assert {(r.status, r.reason) for r in ladder.rungs} == {
        ("skipped", "the time budget is used up")
    }
    assert ladder.recommendation.rung is None


def test_the_budget_holds_and_cuts_training_short(
    llama_settings: dict[str, Any], tmp_path: Path
) -> None:
    """A training of hours ends in time, is measured, and what is left of the ladder is skipped."""
    ladder = adapt(
        llama_settings,
        tmp_path,
        adapt__rungs=["zero-shot", "lora", "full"],
        adapt__budget="12s",
        train__epochs=100_000,
    ).ladder
    rungs = by_name(ladder)
    assert rungs["zero-shot"].status == "done"
    assert rungs["lora"].training is not None
    assert rungs["lora"].training.stopped == "time"
    assert rungs["lora"].metric is not None
    assert rungs["full"].status == "skipped"
    assert rungs["full"].reason == "the time budget is used up"
    assert ladder.budget_seconds == 12
    assert ladder.seconds < 30  # not hours; a busy machine may be slow to load and to measure


def test_what_does_not_fit_is_skipped_with_advice(
    llama_settings: dict[str, Any], tmp_path: Path
) -> None:
    names = ["zero-shot", *TUNED]
    ladder = adapt(llama_settings, tmp_path, adapt__rungs=names, adapt__memory="1MiB").ladder
    rungs = by_name(ladder)
    assert rungs["zero-shot"].status == "done"
    for name in TUNED:
        assert rungs[name].status == "skipped"
        assert "1.0 MiB available" in rungs[name].reason
        assert "train.micro_batch_tokens" in rungs[name].reason
    assert any("lora was not tried" in warning for warning in ladder.recommendation.warnings)


def test_another_configuration_needs_another_name(
    llama_settings: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**llama_settings, "adapt.rungs": ["zero-shot"], "name": "mine"}
    adapt(settings, tmp_path)
    for change in ({"seed": 1}, {"evaluate__max_new_tokens": 3}, {"prompt__system": "Be brief."}):
        with pytest.raises(UsageError, match="another configuration") as caught:
            adapt(settings, tmp_path, **change)
        assert "--name" in caught.value.fix


def test_another_configuration_without_a_name_gets_a_run_of_its_own(
    llama_settings: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**llama_settings, "adapt.rungs": ["zero-shot"]}
    assert adapt(settings, tmp_path).run != adapt(settings, tmp_path, seed=1).run


def contaminated_file(folder: Path) -> Path:
    """Twenty tickets, of which the last two are in the test and, in part, among the others."""
    words = [f"word{number}" for number in range(400)]
    texts = [" ".join(words[20 * i : 20 * i + 20]) for i in range(20)]
    texts[3] += " " + " ".join(texts[18].split()[2:16])
    path = folder / "tickets"
    path.mkdir()
    for name, part in (("train", texts[:18]), ("test", texts[18:])):
        rows = [{"prompt": text, "completion": "yes"} for text in part]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (path / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return path


def test_test_examples_in_the_training_data_are_named_and_measured_apart(
    llama_settings: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**llama_settings, "data.source": str(contaminated_file(tmp_path))}
    shown = io.StringIO()
    overrides = {**settings, "output": str(tmp_path / "runs"), "adapt.rungs": ["zero-shot"]}
    # A random model's answers are not recommended.
    overrides |= {"adapt.target": 0.0, "adapt.rungs": ["nearest"]}
    result = luthier.adapt(None, overrides, Console(shown))
    found = result.ladder.contamination
    assert found == Contamination.read(result.run.contamination)
    assert (found.train, found.test, found.checked) == (result.ladder.examples["train"], 2, 2)
    (dirty,) = found.examples
    assert (dirty.runs, dirty.shared) == (9, 2)
    assert "train.jsonl" in dirty.where
    rung = by_name(result.ladder)["nearest"]
    assert (rung.metric.n, rung.clean.n) == (2, 1)
    assert found.sentence in shown.getvalue()
    warning = result.ladder.recommendation.warnings[0]
    assert found.sentence in warning
    assert "On the other 1, nearest reaches" in warning
    text = result.run.report_markdown.read_text()
    assert "Contaminated examples" in text
    assert "exact\\_match (clean)" in text


def test_contamination_need_not_be_looked_for(
    llama_settings: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**llama_settings, "output": str(tmp_path), "adapt.rungs": ["zero-shot"]}
    changes = {"evaluate.contamination_ngram": None}
    result = luthier.adapt(configure(None, settings), changes, Console(quiet=True))
    assert result.ladder.contamination is None
    assert not result.run.contamination.exists()


def test_general_text_is_mixed_in_and_a_limit_holds(
    llama_settings: dict[str, Any], tmp_path: Path
) -> None:
    """What the guard measures is what the record says in the end."""
    result = adapt(
        llama_settings,
        tmp_path,
        adapt__rungs=["full"],
        data__replay=0.2,
        train__guards__max_forgetting=0.5,
        train__num_validations=16,
    )
    rung = by_name(result.ladder)["full"]
    assert rung.training.replayed == round(rung.training.examples / 4)
    if rung.training.stopped == "forgetting":
        assert rung.forgetting.value <= 0.5
    events = list(read_lines(result.run.rung("full").events))
    rises = {e["step"]: e["rise"] for e in events if e["event"] == "forgetting"}
    assert rises[rung.training.best_step] == pytest.approx(rung.forgetting.value, abs=1e-4)
    assert rung.forgetting.value <= 0.5


def test_a_limit_needs_something_to_be_measured_on(
    llama_settings: dict[str, Any], tmp_path: Path
) -> None:
    settings = {"output": str(tmp_path), "train.guards.max_forgetting": 0.1}
    config = configure(None, {**llama_settings, **settings})
    for change in ({"evaluate.general_text": None}, {"train.num_validations": 0}):
        with pytest.raises(UsageError, match="measured at validations"):
            luthier.adapt(config, change, Console(quiet=True))


def test_a_rung_that_was_cut_short_goes_on_when_there_is_more_time(
    llama_settings: dict[str, Any], tmp_path: Path
) -> None:
    named = {**llama_settings, "name": "boxed", "adapt.rungs": ["nearest", "lora"]}
    limited = {"train__max_time": 0.001}
    short = by_name(adapt(named, tmp_path, **limited).ladder)["lora"]
    assert short.training is not None
    assert short.training.stopped == "time"
    assert by_name(adapt(named, tmp_path, **limited).ladder)["lora"].training == short.training
    # With more time, but a cheaper rung that is good enough, it stays as it was measured.
    enough = {"adapt__target": 0.0, "adapt__stop_at_target": True}
    assert by_name(adapt(named, tmp_path, **enough).ladder)["lora"].training == short.training
    longer = by_name(adapt(named, tmp_path).ladder)["lora"]
    assert longer.training is not None
    assert (longer.training.stopped, longer.training.steps) == (
        "finished",
        short.training.planned_steps,
    )


def test_the_base_is_not_loaded_where_nothing_asks_it(
    llama_settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be too large as it is stored."""
    loaded: list[Any] = []

    def load_noted(handle: Any, **place: Any) -> Any:
        loaded.append(handle.config.quantisation)
        return load(handle, **place)

    monkeypatch.setattr(base_model, "load", load_noted)
    silent = tmp_path / "silent.yaml"
    silent.write_text("evaluate: {general_text: null}", encoding="utf-8")
    settings = {**llama_settings, "adapt.rungs": ["qlora"], "train.epochs": 1}
    for config, expected in ((silent, ["nf4"]), (None, [None, "nf4"])):
        loaded.clear()
        changes = {"output": str(tmp_path), "name": f"run-{len(expected)}"}
        result = luthier.adapt(config, {**settings, **changes}, Console(quiet=True))
        assert by_name(result.ladder)["qlora"].status == "done"
        assert loaded == expected
