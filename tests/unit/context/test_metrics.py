"""The metrics of a run follow from its task and from the properties of its answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from luthier.config import RunConfig
from luthier.config.load import override
from luthier.context.metrics import metric_names
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
