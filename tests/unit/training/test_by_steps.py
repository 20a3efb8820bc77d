"""Trainings, validations and checkpoints that are counted in steps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.observers import StopAt
from tests.resuming import assert_equal_weights, assert_resumes_exactly

from luthier.checkpoint import load_best, newest_step
from luthier.core.errors import PreemptedError
from luthier.core.files import read_lines

RARE = {"checkpoint_every": "1h"}


def steps_of(run: Any, event: str) -> list[int]:
    return [one["step"] for one in read_lines(run.events) if one["event"] == event]


@pytest.mark.parametrize("steps", [1, 7, 13])  # of 5 in an epoch
def test_a_training_has_exactly_so_many_steps(steps: int, small_tune: Any) -> None:
    _, record, run = small_tune(train={"max_steps": steps, "epochs": 50, "schedule": "linear"})
    assert record.steps == record.planned_steps == steps
    assert record.stopped == "finished"
    assert record.epochs == steps / 5
    rates = [line["learning_rate"] for line in read_lines(run.metrics)]
    assert len(rates) == steps
    if steps > 1:  # it falls over these steps, not over the epochs
        assert rates[-1] < 2 * 0.05 / steps


def test_steps_and_as_many_epochs_are_the_same_training(small_tune: Any) -> None:
    by_epochs, first, _ = small_tune(run="epochs", train={"epochs": 2})
    by_steps, second, _ = small_tune(run="steps", train={"max_steps": 10})
    assert first.last_loss == second.last_loss
    assert_equal_weights(by_epochs, by_steps)


@pytest.mark.parametrize(
    "loop",
    [
        {"max_steps": 12, "validate_every_steps": 2, "keep_checkpoints": 1},
        {"validate_every_steps": 3, "checkpoint_every_steps": 2, "keep_checkpoints": None},
    ],
)
def test_a_resumed_training_equals_an_uninterrupted_one(
    loop: dict[str, Any], small_tune: Any
) -> None:
    assert_resumes_exactly(small_tune, "tiny_llama", "lora", loop, settings={"dropout": 0.2})


def test_validations_and_checkpoints_come_every_so_many_steps(small_tune: Any) -> None:
    loop = {"validate_every_steps": 4, "checkpoint_every_steps": 3, "keep_checkpoints": None}
    _, _, run = small_tune(train=RARE | loop)
    assert steps_of(run, "validation") == [4, 8, 10]
    assert steps_of(run, "checkpoint") == [3, 6, 9]
    kept = sorted(path.name for path in run.checkpoints.glob("step-*"))
    assert kept == ["step-000003", "step-000006", "step-000009", "step-000010"]


@pytest.mark.parametrize("keep", [1, 3])
def test_the_newest_checkpoints_are_kept_with_the_best_weights(keep: int, small_tune: Any) -> None:
    # A learning rate that soon ruins the model, so that the best state is an early one.
    _, record, run = small_tune(
        method="full",
        settings={"learning_rate": 0.3},
        train={
            "validate_every_steps": 1,
            "checkpoint_every_steps": 1,
            "keep_checkpoints": keep,
            "schedule": "constant",
        },
    )
    assert record.best_step < 8
    kept = sorted(path.name for path in run.checkpoints.glob("step-*"))
    assert kept == [f"step-{step:06d}" for step in range(11 - keep, 11)]
    assert load_best(run.checkpoints, record.best_step).tensors()
    assert newest_step(run.checkpoints) == 10
    assert (run.checkpoints / "latest").read_text() == "step-000010\n"


def test_a_lost_checkpoint_is_replaced_by_one_that_was_kept(
    small_tune: Any, tmp_path: Path
) -> None:
    loop = RARE | {"checkpoint_every_steps": 2, "keep_checkpoints": 3}
    straight, _, _ = small_tune(run="straight", train=loop)
    with pytest.raises(PreemptedError):
        small_tune(run="broken", train=loop, observers=[StopAt(8)])
    for name in ("step-000008", "step-000006"):
        shutil.rmtree(tmp_path / "broken" / "checkpoints" / name)
    resumed, _, run = small_tune(run="broken", train=loop)
    assert steps_of(run, "resume") == [4]
    assert_equal_weights(straight, resumed)
