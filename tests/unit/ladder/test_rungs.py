"""What each rung is made of."""

from __future__ import annotations

from typing import get_args

from luthier.config import RunConfig
from luthier.config.adapt import AdaptConfig, RungName
from luthier.config.prompt import PromptConfig
from luthier.ladder.rungs import Rung, rungs_of


def test_the_default_ladder_rises_in_cost_and_every_rung_is_known() -> None:
    rungs = rungs_of(RunConfig())
    every = get_args(RungName)
    chosen = RunConfig(adapt=AdaptConfig(rungs=every))
    assert tuple(rung.name for rung in rungs_of(chosen)) == every
    assert rungs == (
        Rung("zero-shot"),
        Rung("one-shot", shots=1),
        Rung("few-shot", shots=3),
        Rung("prompt-tuning", method="prompt-tuning"),
        Rung("lora", method="lora"),
        Rung("full", method="full"),
    )


def test_the_order_is_the_users_and_each_rung_stands_once() -> None:
    config = RunConfig(adapt=AdaptConfig(rungs=("lora", "zero-shot", "lora")))
    assert [rung.name for rung in rungs_of(config)] == ["lora", "zero-shot"]


def test_the_number_of_shots_is_configured() -> None:
    config = RunConfig(prompt=PromptConfig(few_shots=5), adapt=AdaptConfig(rungs=("few-shot",)))
    assert rungs_of(config) == (Rung("few-shot", shots=5),)
