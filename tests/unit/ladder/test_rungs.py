"""What each rung is made of."""

from __future__ import annotations

from typing import get_args

import pytest

from luthier.config import RunConfig
from luthier.config.adapt import AdaptConfig, RungName
from luthier.config.prompt import PromptConfig
from luthier.core.errors import UsageError
from luthier.core.example import Example, Message
from luthier.data.dataset import Dataset
from luthier.ladder.rungs import BaselineRung, PromptRung, TuningRung, rungs_of, with_baselines
from luthier.tasks.bare import AS_IS


def test_the_default_ladder_rises_in_cost_and_every_rung_is_known() -> None:
    rungs = rungs_of(RunConfig())
    every = get_args(RungName)
    chosen = RunConfig(adapt=AdaptConfig(rungs=every))
    assert tuple(rung.name for rung in rungs_of(chosen)) == every
    assert rungs == (
        PromptRung("zero-shot"),
        PromptRung("one-shot", shots=1),
        PromptRung("few-shot", shots=3),
        TuningRung("prompt-tuning", method="prompt-tuning"),
        TuningRung("lora", method="lora"),
        TuningRung("full", method="full"),
    )


def test_the_order_is_the_users_and_each_rung_stands_once() -> None:
    config = RunConfig(adapt=AdaptConfig(rungs=("lora", "zero-shot", "lora")))
    assert [rung.name for rung in rungs_of(config)] == ["lora", "zero-shot"]


def test_the_number_of_shots_is_configured() -> None:
    config = RunConfig(prompt=PromptConfig(few_shots=5), adapt=AdaptConfig(rungs=("few-shot",)))
    assert rungs_of(config) == (PromptRung("few-shot", shots=5),)


def named(config: RunConfig) -> list[str]:
    return [rung.name for rung in rungs_of(config)]


def example(question: str, *choices: str) -> Example:
    answer = choices[0] if choices else "an open answer"
    return Example(question, (Message("user", question),), (answer,), choices=choices)


def dataset(*train: Example, cluster: str = "") -> Dataset:
    template = AS_IS.model_copy(update={"cluster": cluster})
    return Dataset("rows", template, train, (), train, (), "")


CLOSED = dataset(example("a", "yes", "no"), example("b", "yes", "no"))
OPEN = dataset(example("a"), example("b"))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (CLOSED, ["majority", "linear", "lora"]),
        (OPEN, ["nearest", "lora"]),
        (dataset(example("a"), cluster="summarise-dialogue"), ["lead", "nearest", "lora"]),
        (dataset(example("a", "yes", "no"), example("b", "up", "down")), ["nearest", "lora"]),
        (dataset(Example("text", (), ("running text",))), ["lora"]),
    ],
)
def test_baselines_that_suit_the_task_stand_first(rows: Dataset, expected: list[str]) -> None:
    config = RunConfig(adapt=AdaptConfig(rungs=("lora",)))
    assert named(with_baselines(config, rows)) == expected


def test_baselines_can_be_left_out_named_and_placed() -> None:
    none = RunConfig(adapt=AdaptConfig(rungs=("lora",), baselines=()))
    assert named(with_baselines(none, CLOSED)) == ["lora"]
    placed = RunConfig(adapt=AdaptConfig(rungs=("zero-shot", "linear")))
    assert named(with_baselines(placed, CLOSED)) == ["majority", "zero-shot", "linear"]
    assert BaselineRung("linear", baseline="linear") in rungs_of(placed)


@pytest.mark.parametrize(
    ("config", "rows"),
    [
        (AdaptConfig(baselines=("linear",)), OPEN),
        (AdaptConfig(rungs=("majority",), baselines=()), OPEN),
        (AdaptConfig(baselines=("nearest",)), dataset(Example("text", (), ("running text",)))),
    ],
)
def test_a_baseline_that_cannot_answer_is_refused(config: AdaptConfig, rows: Dataset) -> None:
    with pytest.raises(UsageError, match="does not suit this task: "):
        with_baselines(RunConfig(adapt=config), rows)
