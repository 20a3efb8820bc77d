"""The forward passes that are planned are those that the loop makes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tests.objectives import SUPERVISED

from luthier.data.batches import BatchOrder
from luthier.preflight.micro_batches import (
    ForwardPass,
    evenly,
    largest,
    training_passes,
    validation_passes,
)
from luthier.prompts.training_example import TrainingExample
from luthier.training.objectives.supervised import Supervised

TOKENS = 64


def example(length: int, trained: int = 1) -> TrainingExample:
    mask = (False,) * (length - trained) + (True,) * trained
    return TrainingExample(str(length), (1,) * length, mask, length - trained)


EXAMPLES = [example(length) for length in range(4, 44, 3)]


@pytest.mark.parametrize("packing", [False, True])
def test_the_passes_are_those_of_the_loop(
    packing: bool, small_tune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from luthier.training import step

    seen: list[tuple[str, ...]] = []

    class Watched(Supervised):
        def summed_loss(self, model: Any, examples: Any, *rest: Any) -> Any:
            seen.append(tuple(one.id for one in examples))
            return super().summed_loss(model, examples, *rest)

    jobs: list[Any] = []
    real_step = step.optimizer_step

    def stepped(job: Any, *rest: Any) -> Any:
        jobs.append(job)
        return real_step(dataclasses.replace(job, objective=Watched()), *rest)

    monkeypatch.setattr("luthier.training.loop.optimizer_step", stepped)
    small_tune(train={"packing": packing, "batch_size": 4})
    job = jobs[0]
    order = BatchOrder(len(job.examples), job.train.batch_size, job.seed)
    assert job.packed == packing
    passes = training_passes(
        SUPERVISED, job.layout, job.examples, order, len(jobs), job.micro_batch_tokens
    )
    assert [tuple(one.id for one in made.examples) for made in passes] == seen
    assert sum(1 / made.in_step for made in passes) == pytest.approx(len(jobs))


def test_every_validation_example_is_passed_once() -> None:
    passes = validation_passes(SUPERVISED, EXAMPLES, TOKENS)
    assert sorted(one.id for made in passes for one in made.examples) == sorted(
        one.id for one in EXAMPLES
    )
    assert all(made.tokens <= TOKENS for made in passes)


def test_the_largest_by_either_measure_is_among_them() -> None:
    long, wordy = (
        ForwardPass(SUPERVISED, (example(40, 1),)),
        ForwardPass(SUPERVISED, (example(20, 19),)),
    )
    others = [ForwardPass(SUPERVISED, (example(10, 2),))] * 9
    assert {long, wordy} <= set(largest([*others, long, wordy, *others], 1))


def test_a_sample_is_spread_over_all_lengths() -> None:
    passes = [ForwardPass(SUPERVISED, (one,)) for one in EXAMPLES]
    sample = evenly(passes, 5)
    assert len(sample) == 5
    mean = sum(one.tokens for one in passes) / len(passes)
    assert sum(one.tokens for one in sample) / len(sample) == pytest.approx(mean, rel=0.05)
    assert evenly(passes[:2], 5) == passes[:2]
