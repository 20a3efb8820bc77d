"""The metrics of a run follow from its task and from the properties of its answers."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from typing import Any

import pytest

from luthier.config import RunConfig
from luthier.config.load import override
from luthier.context.metrics import metric_names, metric_reason, require_metrics
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.example import Example, Message
from luthier.data.dataset import Dataset
from luthier.tasks.bare import AS_IS
from luthier.tasks.candidates import CandidateTask
from luthier.tasks.generation import GenerationTask
from luthier.tasks.likelihood import ChoiceTask, ClozeTask
from luthier.tasks.task import Task

DATASET = Dataset("rows", AS_IS, (), (), (), (), "")
ASKED = {"name": "mine", "prompt": "{{ x }}"}


def generate(*metrics: str, **more: Any) -> Task:
    keys = {"kind": "generate", "completion": "{{ y }}", **more}
    return GenerationTask.model_validate({**ASKED, **keys, "metrics": metrics})


def choose(*metrics: str, words: tuple[str, str] = ("no", "yes")) -> Task:
    choices = dict(zip(("no", "yes"), words, strict=True))
    keys = {"kind": "choices", "label": "{{ y }}", "choices": choices}
    return ChoiceTask.model_validate({**ASKED, **keys, "metrics": metrics})


def names(task: Task, *, chooses: bool = False, **settings: Any) -> tuple[str, ...]:
    config = override(RunConfig(), settings)
    return metric_names(config, replace(DATASET, template=task), chooses=chooses)


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (AS_IS, ("rougeL", "rouge1", "chrf")),
        (generate("em", "numeric:last"), ("em", "numeric:last")),
        (generate("match:a", extract={"a": {"pattern": "x"}}), ("exact_match",)),
        (generate("pass@2:em", "em", samples=2), ("em",)),
        (choose("acc"), ("accuracy",)),
        (choose("acc", "accuracy"), ("accuracy",)),
        (choose("acc", "macro_f1"), ("macro_f1",)),
        (choose("f1:yes"), ("f1:yes",)),
        (choose("f1:yes", words=("wrong", "right")), ("accuracy",)),
    ],
)
def test_metrics_count_as_far_as_written_answers_give_what_they_need(
    task: Task, expected: tuple[str, ...]
) -> None:
    assert names(task) == expected
    assert names(task, **{"evaluate.metrics": ["chrf"]}) == ("chrf",)


def test_other_kinds() -> None:
    cloze = {"kind": "cloze", "completion": "{{ y }}", "metrics": ["greedy_acc", "perplexity"]}
    assert names(ClozeTask.model_validate({**ASKED, **cloze})) == ("exact_match",)
    own = {"kind": "candidates", "candidates": "c", "references": "r", "metrics": "acc_norm"}
    assert names(CandidateTask.model_validate({**ASKED, **own})) == ("accuracy",)


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (choose("acc"), ("acc",)),
        (choose("acc", "accuracy", "ece"), ("acc", "accuracy", "ece")),
        (choose("f1:yes", words=("wrong", "right")), ("accuracy",)),
    ],
)
def test_chosen_answers_come_with_likelihoods(task: Task, expected: tuple[str, ...]) -> None:
    assert names(task, chooses=True) == expected


def test_several_answers_are_measured_where_they_are_drawn() -> None:
    drawn = {"evaluate.samples": 4, "evaluate.decoding.strategy": "sampling"}
    assert names(generate("pass@2:em", "em", samples=2), **drawn) == ("pass@2:em", "em")


EVEN = ("accuracy", "balanced_accuracy", "macro_f1")
UNEVEN = ("balanced_accuracy", "accuracy", "macro_f1")


def with_classes(**counts: int) -> Dataset:
    """Test examples of these classes."""
    examples = tuple(
        Example(f"{label}{n}", (Message("user", "?"),), (label,), choices=tuple(counts))
        for label, count in counts.items()
        for n in range(count)
    )
    return replace(DATASET, template=choose(), test=examples)


@pytest.mark.parametrize(
    ("counts", "expected", "reason"),
    [
        ({"no": 5, "yes": 5}, EVEN, "the largest, 'no', has 50 % of the 10 test examples"),
        ({"no": 59, "yes": 41}, EVEN, "Metric: accuracy, because the classes are even enough"),
        (
            {"no": 18, "yes": 82}, UNEVEN,
            "82 % of the 100 test examples are 'yes': always answering it would give an accuracy "
            "of 0.82",
        ),
        ({"no": 60, "yes": 40}, UNEVEN, "60 % of the 100 test examples are 'no'"),
        ({"a": 590, "b": 400, "c": 10}, UNEVEN, "only 1 % of the test examples are 'c'"),
        ({"a": 590, "b": 400, "c": 0}, EVEN, "the largest, 'a'"),
        ({"a": 3, "b": 0}, UNEVEN, "100 % of the 3 test examples are 'a'"),
    ],
)  # fmt: skip
def test_the_default_of_classes_follows_their_balance_and_says_why(
    counts: dict[str, int], expected: tuple[str, ...], reason: str
) -> None:
    dataset = with_classes(**counts)
    assert metric_names(RunConfig(), dataset, chooses=True) == expected
    shown = StringIO()
    require_metrics(RunConfig(), dataset, Console(shown))
    said = " ".join(shown.getvalue().split())
    assert reason in said
    assert said.count("Metric: ") == 1


def test_what_the_user_or_the_task_says_comes_first() -> None:
    dataset = with_classes(no=1, yes=9)
    asked = override(RunConfig(), {"evaluate.metrics": ["accuracy"]})
    assert metric_names(asked, dataset, chooses=True) == ("accuracy",)
    assert not metric_reason(asked, dataset, chooses=True)
    stated = replace(dataset, template=choose("acc", "f1:yes"))
    assert metric_names(RunConfig(), stated, chooses=True) == ("acc", "f1:yes")
    assert not metric_reason(RunConfig(), stated, chooses=True)


def test_answers_that_are_no_shared_classes_have_accuracy() -> None:
    dataset = with_classes(no=1, yes=9)
    first, *others = dataset.test
    for changed in (replace(first, choices=("no", "maybe")), replace(first, references=("x",))):
        other = replace(dataset, test=(changed, *others))
        assert metric_names(RunConfig(), other, chooses=True) == ("accuracy",)


def test_nothing_but_the_test_examples_decides() -> None:
    dataset = with_classes(no=5, yes=5)
    more = with_classes(no=1, yes=99).test
    other = replace(dataset, train=more, validation=more)
    assert metric_names(RunConfig(), other, chooses=True) == EVEN


@pytest.mark.parametrize("target", [90, 1.01, -0.5])
@pytest.mark.parametrize("metric", [None, "macro_f1", "balanced_accuracy", "recall:yes"])
def test_a_target_outside_of_the_range_is_refused(target: float, metric: str | None) -> None:
    settings = {"adapt.target": target, **({"evaluate.metrics": [metric]} if metric else {})}
    with pytest.raises(UsageError, match=r"cannot be reached: .* lies between 0 and 1") as caught:
        require_metrics(
            override(RunConfig(), settings), with_classes(no=1, yes=9), Console(StringIO())
        )
    assert caught.value.where == "adapt.target"
    assert caught.value.fix


def test_a_model_abstains_only_where_it_chooses() -> None:
    config = override(RunConfig(), {"evaluate.abstain": 0.9})
    require_metrics(config, with_classes(no=1, yes=9), Console(StringIO()))
    generated = override(config, {"evaluate.choices": "generation"})
    with pytest.raises(UsageError, match="answers of 'rows' are generated"):
        require_metrics(generated, with_classes(no=1, yes=9), Console(StringIO()))
    (one,) = with_classes(no=1).test
    opened = replace(DATASET, template=generate("em"), test=(replace(one, choices=()),))
    with pytest.raises(UsageError, match="answers of 'rows' are generated"):
        require_metrics(config, opened, Console(StringIO()))
