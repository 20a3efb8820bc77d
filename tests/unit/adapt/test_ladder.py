"""The whole ladder on tiny models, through the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from luthier import api
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.files import read_lines
from luthier.core.records import LadderRecord, RungRecord, SampleRecord, TrainingRecord

RUNGS = ("zero-shot", "one-shot", "few-shot", "prompt-tuning", "lora", "full")
TUNED = RUNGS[3:]

pytestmark = pytest.mark.usefixtures("one_thread")


def adapt(settings: dict[str, Any], output: Path, **changes: Any) -> api.AdaptResult:
    """Climb with changed settings; ``__`` stands for the dot of a key."""
    changed = {key.replace("__", "."): value for key, value in changes.items()}
    overrides = {**settings, "output": str(output), **changed}
    return api.adapt(None, overrides, Console(quiet=True))


def by_name(ladder: LadderRecord) -> dict[str, RungRecord]:
    return {rung.name: rung for rung in ladder.rungs}


def samples_of(result: api.AdaptResult, rung: str) -> list[SampleRecord]:
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
) -> api.AdaptResult:
    """All rungs of a decoder-only and of an encoder-decoder model."""
    model = request.getfixturevalue(request.param)
    return adapt({**quick_settings, "model.id": str(model)}, tmp_path_factory.mktemp("runs"))


def test_every_rung_is_measured(whole: api.AdaptResult) -> None:
    assert [(rung.name, rung.status) for rung in whole.ladder.rungs] == [(r, "done") for r in RUNGS]
    for rung in whole.ladder.rungs:
        assert rung.metric is not None
        assert rung.metric.low <= rung.metric.value <= rung.metric.high
        assert [metric.name for metric in rung.metrics] == ["exact_match", "chrf"]
        assert rung.evaluate_seconds > 0
        assert rung.peak_memory_bytes > 0


def test_what_is_stored_is_what_was_returned(whole: api.AdaptResult) -> None:
    assert LadderRecord.read(whole.run.ladder) == whole.ladder
    assert whole.report == whole.run.report_html
    for text in (whole.report.read_text(), whole.run.report_markdown.read_text()):
        assert all(rung in text for rung in RUNGS)
    markdown = whole.run.report_markdown.read_text().replace("\\", "")
    assert whole.ladder.recommendation.sentence in markdown


def test_all_rungs_answer_the_same_questions(whole: api.AdaptResult) -> None:
    """Paired tests are only fair on the same examples with the same references."""
    asked = [[(s.id, s.references) for s in samples_of(whole, rung)] for rung in RUNGS]
    assert len(asked[0]) == whole.ladder.examples["test"] >= 10
    assert all(other == asked[0] for other in asked)


def test_shots_stand_in_the_prompts(whole: api.AdaptResult) -> None:
    shown = [samples_of(whole, rung)[0].prompt.count("Is the number") for rung in RUNGS]
    assert shown == [1, 2, 4, 1, 1, 1]


def test_gains_are_corrected_for_their_number(whole: api.AdaptResult) -> None:
    first, *others = whole.ladder.rungs
    assert first.gain is None
    for rung in others:
        assert rung.gain is not None
        assert rung.gain.n == whole.ladder.examples["test"]
        assert rung.gain.p <= rung.gain.p_holm <= 1


def test_tuned_rungs_leave_a_model_and_what_it_cost(whole: api.AdaptResult) -> None:
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


def test_prompting_rungs_train_and_forget_nothing(whole: api.AdaptResult) -> None:
    for name in RUNGS[:3]:
        rung = by_name(whole.ladder)[name]
        assert rung.training is None
        assert rung.forgetting is None
        assert rung.trained_parameters == rung.artifact_bytes == 0


def test_full_tuning_learns_the_words(whole: api.AdaptResult) -> None:
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
    """Any value reaches a target of 0, so the cheapest rung is it; the others run all the same."""
    settings = {**llama_settings, "adapt.rungs": ["zero-shot", "one-shot", "few-shot"]}
    all_run = adapt(settings, tmp_path, adapt__target=0.0)
    assert all_run.ladder.recommendation.rung == "zero-shot"
    assert {rung.status for rung in all_run.ladder.rungs} == {"done"}


def test_rungs_above_the_target_can_be_left_out(
    llama_settings: dict[str, Any], tmp_path: Path
) -> None:
    result = adapt(llama_settings, tmp_path, adapt__target=0.0, adapt__stop_at_target=True)
    first, *others = result.ladder.rungs
    assert first.status == "done"
    assert {(r.status, r.reason) for r in others} == {
        ("skipped", "a cheaper rung has reached the target")
    }
    assert not any((result.run.path / "rungs" / rung.name).exists() for rung in others)


def test_a_target_out_of_reach(llama_settings: dict[str, Any], tmp_path: Path) -> None:
    settings = {**llama_settings, "adapt.rungs": ["zero-shot", "few-shot"]}
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
        assert "1.0 MiB may be used" in rungs[name].reason
        assert "train.micro_batch_tokens" in rungs[name].reason
    assert any("lora was skipped" in reason for reason in ladder.recommendation.reasons)


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
