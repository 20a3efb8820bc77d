from __future__ import annotations

from dataclasses import replace

import pytest

from luthier.config import Decoding
from luthier.core.errors import DataError, UsageError
from luthier.core.example import Example, Message
from luthier.evaluation.predicting.generation import Generating
from luthier.evaluation.task import EvaluationTask
from luthier.records.evaluation import TemplateStamp

EXAMPLE = Example("a", (Message("user", "2 + 2?"),), ("4",), where="data.jsonl:1")
TASK = EvaluationTask(
    name="sums",
    split="test",
    examples=(EXAMPLE,),
    template=TemplateStamp(id="as-is", hash="00"),
    shots=0,
    chat_template=False,
    metrics=("exact_match", "chrf"),
    mode=Generating(Decoding(max_new_tokens=8)),
)


def test_metrics_are_loaded_in_order() -> None:
    assert [metric.name for metric in TASK.load_metrics()] == ["exact_match", "chrf"]


@pytest.mark.parametrize("metrics", [(), ("chrf", "chrf"), ("exact-match",)])
def test_metrics_must_be_known_and_named_once(metrics: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        replace(TASK, metrics=metrics)


def test_examples_must_be_there() -> None:
    with pytest.raises(DataError, match="has no examples"):
        replace(TASK, examples=())


def test_all_bad_examples_are_named_at_once() -> None:
    twice = replace(EXAMPLE, where="data.jsonl:2")
    blank = replace(EXAMPLE, id="b", references=(), where="data.jsonl:3")
    with pytest.raises(DataError) as caught:
        replace(TASK, examples=(EXAMPLE, twice, blank))
    text = str(caught.value)
    assert "data.jsonl:2: the id 'a' stands twice" in text
    assert "data.jsonl:3: this example has no reference" in text


def test_accuracy_needs_choices() -> None:
    with pytest.raises(DataError, match="no choices for accuracy") as caught:
        replace(TASK, metrics=("accuracy",))
    assert caught.value.where == "data.jsonl:1"
    closed = replace(EXAMPLE, choices=("4", "5"))
    assert replace(TASK, examples=(closed,), metrics=("accuracy",)).metrics == ("accuracy",)
