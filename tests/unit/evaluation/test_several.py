"""Several answers to a question: pass@k and the majority's vote."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import luthier
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.evaluation import load_evaluation
from luthier.evaluation.metrics import get_metric
from luthier.evaluation.statistics.bootstrap import Resampling, Units, bootstrap_interval
from luthier.records.evaluation import SampleRecord


def samples(answers: Sequence[Sequence[str]], accepted: Sequence[str]) -> list[SampleRecord]:
    return [
        SampleRecord(
            id=f"{question}#{number}",
            group=str(question),
            question_id=str(question),
            prompt="",
            prediction=answer,
            references=(accepted[question],),
            scores={},
            finish="stop",
            extracted={"strict": answer.split()[-1]},
            accepted=(accepted[question],),
        )
        for question, drawn in enumerate(answers)
        for number, answer in enumerate(drawn, start=1)
    ]


def value(name: str, answered: list[SampleRecord]) -> float:
    metric = get_metric(name)
    return Units.of(metric.measure(answered)).figure(metric.aggregate)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_pass_at_k_is_the_share_of_draws_with_a_right_answer(k: int) -> None:
    answers = [["a", "b", "a", "c", "d"], ["b"] * 5, ["a"] * 5, ["b", "b", "b", "b", "a"]]
    expected = np.mean(
        [np.mean(["a" in draw for draw in itertools.combinations(each, k)]) for each in answers]
    )
    answered = samples(answers, ["a"] * 4)
    assert value(f"pass@{k}", answered) == pytest.approx(expected)
    assert value(f"pass@{k}:em", samples([["x"], ["x"]], "zz") * k) == 0
    with pytest.raises(DataError, match="needs 6 answers to each question, but there are 5"):
        value("pass@6", answered)


@pytest.mark.parametrize(
    ("name", "answers", "right"),
    [
        ("majority", ["b", "a", "a"], 1),
        ("majority", ["a", "b", "b"], 0),
        ("majority", ["a", "b"], 1),
        ("majority", ["b", "a"], 0),
        ("majority:em", ["The A.", "b", "a"], 1),
        ("majority:match:strict", ["It is b", "so a", "thus a"], 1),
    ],
)
def test_the_majority_votes(name: str, answers: list[str], right: int) -> None:
    assert value(name, samples([answers], ["a"])) == right


def test_equal_numbers_vote_together() -> None:
    answered = samples([["29", "30", "$29.00", "30.5"]], ["29"])
    assert value("majority:numeric", answered) == 1
    assert value("majority:numeric:last", answered) == 1


def test_the_interval_is_over_questions() -> None:
    random = np.random.default_rng(0)
    right = random.random(40) < 0.5
    answers = [["a" if r else "b"] * 8 for r in right]
    answered = samples(answers, ["a"] * 40)
    metric = get_metric("pass@1")
    stats = metric.measure(answered)
    groups = [sample.group for sample in answered]
    estimate = bootstrap_interval(metric, stats, Resampling(0, 1000, 0.95), groups)
    assert estimate.value == pytest.approx(right.mean())
    assert estimate.high - estimate.low > 0.25  # 40 questions, not 320 answers


def test_what_is_not_right_or_wrong_judges_nothing() -> None:
    for name in ("pass@2:acc", "majority:bleu", "majority:f1:x"):
        with pytest.raises(UsageError, match="does not score single answers"):
            get_metric(name)
    for name in ("pass@0", "pass@k", "pass@k:x"):
        with pytest.raises(UsageError, match="number of answers to try"):
            get_metric(name)
    with pytest.raises(DataError, match="right or wrong"):
        value("pass@1:token_f1", samples([["x y", "x"]], ["x"]))
    alone = [sample.model_copy(update={"question_id": ""}) for sample in samples([["a"]], ["a"])]
    with pytest.raises(DataError, match=r"draw several with evaluate\.samples"):
        value("majority", alone)


def test_several_samples_are_drawn_for_each_question(tmp_path: Path, tiny_gpt2: Path) -> None:
    rows = "".join(json.dumps({"q": f"Say {n}:", "a": str(n)}) + "\n" for n in range(5))
    (tmp_path / "t.jsonl").write_text(rows, encoding="utf-8")
    keys = {
        "name": "own",
        "kind": "generate",
        "files": {"splits": {"test": "t.jsonl"}},
        "prompt": "{{ q }}",
        "completion": "{{ a }}",
        "max_new_tokens": 3,
        "metrics": ["em"],
    }
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps(keys), encoding="utf-8")
    settings = {
        "output": str(tmp_path / "runs"),
        "evaluate.resamples": 100,
        "evaluate.samples": 4,
        "evaluate.decoding.strategy": "sampling",
        "evaluate.metrics": ["pass@2", "majority", "exact_match"],
        "model.dtype": "float32",
    }
    (result,) = luthier.benchmark([tiny_gpt2], [str(path)], None, settings, Console(quiet=True))
    stored = load_evaluation(result.run, "own").samples
    assert [sample.id for sample in stored[:5]] == ["0#1", "0#2", "0#3", "0#4", "1#1"]
    assert {sample.group for sample in stored} == set("01234")
    assert len({sample.prediction for sample in stored[:4]}) > 1
    (again,) = luthier.benchmark([tiny_gpt2], [str(path)], None, settings, Console(quiet=True))
    assert load_evaluation(again.run, "own").samples == stored
    with pytest.raises(UsageError, match=r"own does not take .*several answers"):
        luthier.benchmark(
            [tiny_gpt2], [str(path)], None, {"evaluate.metrics": ["pass@2"]}, Console(quiet=True)
        )


def test_votes_are_counted_by_the_number_that_is_meant() -> None:
    """Sentences that name one number are one answer."""
    said = ["It is 4.", "So the answer is 5.", "We get 5", "5"]
    samples = [
        SampleRecord(
            id=f"1#{n}", prompt="", prediction=text, references=("2 + 3 = 5\n#### 5",), scores={},
            finish="stop", question_id="1",
        )
        for n, text in enumerate(said)
    ]  # fmt: skip
    for name, value in (("majority:numeric:last", 1.0), ("pass@1:numeric:last", 0.75)):
        metric = get_metric(name)
        rows = metric.measure(samples)
        assert metric.aggregate(rows.sum(axis=0), np.array(4.0)) == pytest.approx(value)
