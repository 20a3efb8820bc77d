"""One test question that is too long: said before a training, left out by choice, and counted."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.api.configuration import configure
from luthier.config import RunConfig
from luthier.context.evaluation_task import evaluation_task
from luthier.context.long_tests import asking, long_tests
from luthier.context.prepare import prepare
from luthier.context.run_context import RunContext
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.example import Example, Message
from luthier.ladder.checks import without_tests_too_long_for_a_rung


@pytest.fixture
def settings(tmp_path: Path, tiny_llama: Path) -> dict[str, Any]:
    """Ten test questions, the last of which fills the context window of 1,024 tokens."""
    for name, thing in (("train", "parcel"), ("test", "package")):
        rows = [
            {"prompt": f"Where is {thing} {n}?", "completion": f"In depot {n}."} for n in range(10)
        ]
        if name == "test":
            rows[-1]["prompt"] += " So far away." * 400
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return {
        "output": str(tmp_path / "runs"),
        "model.id": str(tiny_llama),
        "data.source": str(tmp_path / "train.jsonl"),
        "data.test": str(tmp_path / "test.jsonl"),
        "data.validation_fraction": 0.2,
        "evaluate.max_new_tokens": 4,
        "evaluate.general_text": None,
        "train.trackers": (),
    }


def prepared(settings: dict[str, Any], **changes: Any) -> tuple[RunContext, str]:
    said = io.StringIO()
    config: RunConfig = configure(None, {**settings, **changes})
    return prepare(config, Console(said)), said.getvalue()


def test_a_long_question_stops_an_evaluation_with_the_way_out(settings: dict[str, Any]) -> None:
    setup, _ = prepared(settings)
    (long,) = long_tests(setup, asking(setup, 0))
    with pytest.raises(DataError, match="there is room for 1020") as caught:
        evaluation_task(setup, 0).prompts(setup.renderer)
    assert "evaluate.too_long=drop" in caught.value.fix
    assert caught.value.where == long.where


def test_long_questions_are_left_out_by_choice_and_counted(settings: dict[str, Any]) -> None:
    setup, said = prepared(settings, **{"evaluate.too_long": "drop"})
    assert "1 of 10 test examples left out" in said
    assert "test.jsonl:10" in said
    assert len(evaluation_task(setup, 0).prompts(setup.renderer)) == 9
    assert [dropped.where for dropped in setup.dataset.dropped][-1].endswith("test.jsonl:10")
    whole, _ = prepared(settings)
    assert setup.dataset.fingerprint != whole.dataset.fingerprint
    assert setup.dataset.train == whole.dataset.train


def test_every_rung_answers_the_same_questions(settings: dict[str, Any]) -> None:
    """What fits without worked examples may not fit with some."""
    renderer = prepared(settings)[0].renderer
    asked, longer = "Where is it?", "Where is it? So far away."
    while len(renderer.prompt(Example("1", (Message("user", longer),), ())).ids) < 1020:
        asked, longer = longer, f"{longer} So far away."
    with Path(settings["data.test"]).open("a") as file:
        file.write("\n" + json.dumps({"prompt": asked, "completion": "In depot 1."}))
    changes = {"evaluate.too_long": "drop", "adapt.rungs": ("zero-shot", "few-shot")}
    setup, _ = prepared({**settings, "prompt.few_shots": 3}, **changes)
    assert len(setup.dataset.test) == 10
    said = io.StringIO()
    setup = without_tests_too_long_for_a_rung(setup, Console(said))
    assert len(setup.dataset.test) == 9
    assert "1 of 10 test examples left out" in said.getvalue()


def test_tuning_says_it_before_it_trains(settings: dict[str, Any]) -> None:
    said = io.StringIO()
    luthier.dry_run(overrides=settings, console=Console(said), kind="tune")
    assert "1 of 10 test prompts" in said.getvalue()
    assert "evaluate.too_long=drop" in said.getvalue()


def test_without_any_question_left_nothing_is_measured(settings: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="no test example is left"):
        prepared(settings, **{"evaluate.too_long": "drop", "evaluate.max_new_tokens": 1023})
