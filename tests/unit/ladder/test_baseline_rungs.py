"""Baselines are rungs: measured first, compared with models, and possibly recommended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.files import read_json, write_json
from luthier.evaluation import load_evaluation
from luthier.evaluation.baselines import load_baseline
from luthier.ladder.verify import verify_run
from luthier.records.run_directory import RunDirectory

QUIET = Console(quiet=True)
TASK = {
    "prompt": "Order: {{ text }}\nTeam:",
    "label": "{{ team }}",
    "choices": {"food": "food", "tools": "tools", "books": "books"},
}
THINGS = {
    "food": ("bread", "cheese", "apples", "olives", "rice", "soup"),
    "tools": ("hammers", "nails", "saws", "drills", "pliers", "screws"),
    "books": ("novels", "poems", "atlases", "diaries", "comics", "essays"),
}


def orders(folder: Path) -> dict[str, Any]:
    """180 orders that a linear classifier tells apart and a random model does not."""
    rows = [
        {"text": f"{n * 7 % 97} {thing} and {other} for shop {n * 31 % 89}", "team": team}
        for team, things in THINGS.items()
        for n, thing in enumerate(things * 10)
        for other in [things[(n + 1 + n // 6) % 6]]
    ]
    (folder / "orders.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "team.yaml").write_text(json.dumps(TASK), encoding="utf-8")
    return {
        "data.source": str(folder / "orders.jsonl"),
        "data.near_duplicates": "off",
        "prompt.template": str(folder / "team.yaml"),
        "output": str(folder / "runs"),
        "model.dtype": "float32",
        "evaluate.resamples": 200,
        "evaluate.general_text": None,
        "adapt.rungs": ["zero-shot"],
    }


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory, tiny_gpt2: Path) -> Any:
    settings = orders(tmp_path_factory.mktemp("orders"))
    return luthier.adapt(None, {**settings, "model.id": str(tiny_gpt2)}, QUIET)


def test_a_task_that_needs_no_model_gets_none(ladder: Any) -> None:
    assert [rung.name for rung in ladder.ladder.rungs] == ["majority", "linear", "zero-shot"]
    answer = ladder.ladder.recommendation
    assert answer.rung == "linear"
    assert "You do not need a language model here." in answer.sentence
    assert ladder.ladder.model.architecture == "GPT2LMHeadModel"


def test_all_rungs_answer_the_same_questions_with_probabilities(ladder: Any) -> None:
    answered = {
        name: load_evaluation(ladder.run.rung(name), ladder.ladder.task).samples
        for name in ("majority", "linear", "zero-shot")
    }
    asked = {name: [(s.id, s.references) for s in found] for name, found in answered.items()}
    assert asked["majority"] == asked["linear"] == asked["zero-shot"]
    for samples in answered.values():
        assert all(len(sample.likelihoods) == 3 for sample in samples)
    assert {s.prediction for s in answered["majority"]} <= set(THINGS)


def test_a_stored_baseline_answers_as_it_was_measured(ladder: Any) -> None:
    run = ladder.run.rung("linear")
    samples = load_evaluation(run, ladder.ladder.task).samples
    baseline = load_baseline("linear", run.path)
    from luthier.core.example import Example, Message

    examples = [Example(s.id, (Message("user", s.prompt),), (), choices=s.choices) for s in samples]
    again = baseline.predict(examples, QUIET, "rows").samples
    assert [s.prediction for s in again] == [s.prediction for s in samples]
    for one, other in zip(again, samples, strict=True):
        assert one.likelihoods == pytest.approx(other.likelihoods, abs=1e-12)


def test_a_finished_baseline_is_not_repeated(ladder: Any, tiny_gpt2: Path) -> None:
    before = (ladder.run.rung("linear").path / "baseline.json").stat().st_mtime_ns
    settings = orders(ladder.run.path.parent.parent)
    again = luthier.adapt(None, {**settings, "model.id": str(tiny_gpt2)}, QUIET)
    assert again.ladder.rungs == ladder.ladder.rungs
    assert (ladder.run.rung("linear").path / "baseline.json").stat().st_mtime_ns == before


def test_a_baseline_has_no_model_to_evaluate_or_merge(ladder: Any) -> None:
    for command in (luthier.evaluate, luthier.merge):
        with pytest.raises(DataError, match="is a baseline, which has no language model"):
            command(ladder.run.rung("linear").path, console=QUIET)


def test_a_changed_figure_of_a_baseline_is_found(ladder: Any, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(ladder.run.path, copy)
    path = copy / "rungs" / "majority" / "rung.json"
    stored = read_json(path)
    stored["record"]["unusable"] = "all its answers are silly"
    write_json(path, stored)
    with pytest.raises(DataError, match="unusable"):
        verify_run(RunDirectory.open(copy), QUIET)
