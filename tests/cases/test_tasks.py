"""Task files as their owners write them, measured by the command."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import DataError

Call = Callable[..., Any]


@pytest.fixture
def measure(call: Call, inputs: Path, tiny_llama: Path, in_tmp_path: Path) -> Any:
    """Measures a task file; the outcome, and the samples where it went well."""

    def evaluate(name: str, *more: str) -> tuple[Any, list[dict[str, Any]]]:
        shutil.copytree(inputs / "tasks", in_tmp_path / "tasks", dirs_exist_ok=True)
        runs = in_tmp_path / f"runs-{len(list(in_tmp_path.glob('runs-*')))}"
        settings = ("model.dtype=float32", "evaluate.resamples=100", f"output={runs}")
        task = f"tasks/{name}.yaml"
        outcome = call("evaluate", str(tiny_llama), "--tasks", task, *settings, *more)
        files = sorted(runs.glob("*/evaluation/*.samples.jsonl"))
        samples = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        return outcome, samples

    return evaluate


def likeliest(sample: dict[str, Any], per: Callable[[str], int] = lambda _: 1) -> str:
    scores = [
        value / per(word)
        for value, word in zip(sample["likelihoods"], sample["words"], strict=True)
    ]
    return str(sample["choices"][scores.index(max(scores))])


def test_arc_with_three_to_five_choices(measure: Any) -> None:
    outcome, samples = measure("arc")
    assert outcome.code == 0, outcome.err
    assert [sample["references"] for sample in samples] == [["B"], ["3"], ["E"]]
    assert [len(sample["choices"]) for sample in samples] == [4, 3, 5]
    for sample in samples:
        right = sample["references"][0]
        assert sample["scores"]["acc"] == (likeliest(sample) == right)
        assert sample["scores"]["acc_norm"] == (likeliest(sample, len) == right)


@pytest.mark.parametrize(
    ("name", "place", "advice"),
    [
        ("arcreal", "arcreal.jsonl:2: the label '3' has no words", "the labels are 'A'"),
        ("arcreal2", "arcreal.jsonl:1: the right answer 'B'", "or give answer_index"),
    ],
)
def test_arc_said_in_a_way_that_cannot_be_right_is_told_the_way(
    name: str, place: str, advice: str, measure: Any
) -> None:
    outcome, samples = measure(name)
    assert outcome.code == DataError.exit_code
    assert not samples
    assert place in outcome.err
    assert advice in outcome.err


def test_winogrande_has_one_end_of_two_contexts(measure: Any) -> None:
    outcome, samples = measure("winogrande")
    assert outcome.code == 0, outcome.err
    assert [sample["references"] for sample in samples] == [["1"], ["0"], ["1"]]
    for sample in samples:
        assert len(set(sample["contexts"])) == 2
        assert len(set(sample["words"])) == 1
        assert sample["scores"]["acc"] == (likeliest(sample) == sample["references"][0])


def test_every_alias_of_trivia_is_accepted(measure: Any) -> None:
    outcome, samples = measure("trivia")
    assert outcome.code == 0, outcome.err
    onion, lorenzo, jets = (sample["references"] for sample in samples)
    assert len(onion) == 17
    assert {"Onion", "Pyaz", "Allium cepa"} <= set(onion)
    assert lorenzo == ["Jorge Lorenzo", "Jorge Lorenzo Guerrero"]
    assert {"The Jets", "JETS", "The Jets (rock band)"} <= set(jets)


def test_the_probability_of_all_right_choices(measure: Any) -> None:
    outcome, samples = measure("truthful")
    assert outcome.code == 0, outcome.err
    assert [sample["references"] for sample in samples] == [["0", "1"], ["1"]]
    for sample in samples:
        mass = dict(zip(sample["choices"], map(math.exp, sample["likelihoods"]), strict=True))
        right = sum(mass[label] for label in sample["references"]) / sum(mass.values())
        assert sample["scores"]["mc2"] == pytest.approx(right, abs=1e-9)
        assert sample["scores"]["mc1"] == (likeliest(sample) in sample["references"])


def test_settings_reach_a_task(measure: Any) -> None:
    greedy = ("evaluate.max_new_tokens=3", 'evaluate.metrics=["chrf"]', "--json")
    outcome, samples = measure("gen", *greedy)
    assert outcome.code == 0, outcome.err
    (record,) = outcome.document[0]["tasks"]
    assert [metric["name"] for metric in record["metrics"]] == ["chrf"]
    assert record["generated_tokens"] == 6
    _, drawn = measure("gen", *greedy, "evaluate.decoding.strategy=sampling")
    answers = [[sample["prediction"] for sample in some] for some in (samples, drawn)]
    assert answers[0] != answers[1]
    letter = answers[0][0].strip()[-1]
    _, stopped = measure("gen", *greedy, f"evaluate.stop={json.dumps([letter])}")
    assert stopped[0]["prediction"] == answers[0][0].partition(letter)[0].strip()


def test_a_question_never_shows_its_own_answer(measure: Any) -> None:
    outcome, samples = measure("leakfirst", "--shots", "2")
    assert outcome.code == 0, outcome.err
    assert "2 of 6 questions are worked examples themselves" in outcome.err
    for number, sample in enumerate(samples, start=1):
        assert sample["prompt"].endswith(f"Question {number}?\nAnswer:")
        assert sample["prompt"].count(f"Question {number}?") == 1
        assert sample["prompt"].count("\nAnswer: ") == 2


def test_words_that_a_row_gives_are_named_by_their_columns(measure: Any) -> None:
    outcome, _ = measure("tie")
    assert outcome.code == 0, outcome.err
    assert "tie: 0 = '<c[0]>', 1 = '<c[1]>'" in outcome.out
