"""How many steps a training has, when it validates, and its learning rate by step."""

from __future__ import annotations

import pytest

from luthier.config import MethodsConfig, TrainConfig
from luthier.config.methods import LoraConfig
from luthier.data.batches import BatchOrder
from luthier.training.schedule import (
    batch_size,
    learning_rate_factor,
    planned_epochs,
    total_steps,
    validation_steps,
)


def factors(total: int, **settings: object) -> list[float]:
    config = TrainConfig.model_validate(settings)
    return [learning_rate_factor(step, total, config) for step in range(total)]


def test_it_rises_linearly_to_the_peak() -> None:
    made = factors(20, warmup_fraction=0.2, schedule="constant")
    assert made == [0.25, 0.5, 0.75, *[1.0] * 17]


def test_cosine_falls_to_zero_after_the_last_step() -> None:
    made = factors(10, warmup_fraction=0.2, schedule="cosine")
    assert made[1] == made[2] == 1.0
    assert made[6] == pytest.approx(0.5)
    assert made[4] == pytest.approx(0.5 + 0.5 * 0.5**0.5)
    assert made[-1] == pytest.approx(0.0380602337)
    config = TrainConfig(warmup_fraction=0.2)
    assert learning_rate_factor(10, 10, config) == 0.0


def test_linear_falls_by_equal_parts() -> None:
    assert factors(4, warmup_fraction=0, schedule="linear") == [1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_one_step_is_taken_at_the_peak(schedule: str) -> None:
    assert factors(1, schedule=schedule) == [1.0]


def test_no_step_is_wasted_at_zero() -> None:
    assert all(factor > 0 for factor in factors(37, warmup_fraction=0.1))


@pytest.mark.parametrize(
    ("settings", "own", "expected"),
    [
        ({"epochs": 1}, None, 5),
        ({}, None, 15),
        ({"epochs": 2.5}, None, 12),
        ({"epochs": 2.5}, 4.0, 20),
        ({"max_steps": 7}, None, 7),
        ({"max_steps": 7, "epochs": 100}, None, 7),
        ({"max_steps": 700, "epochs": 1}, 2.0, 700),
    ],
)
def test_a_number_of_steps_decides_before_the_epochs(
    settings: dict[str, float], own: float | None, expected: int
) -> None:
    order = BatchOrder(num_examples=10, batch_size=2, seed=0)
    method = MethodsConfig().of("lora").model_copy(update={"epochs": own})
    assert total_steps(order, TrainConfig.model_validate(settings), method) == expected


@pytest.mark.parametrize(
    ("total", "settings", "expected"),
    [
        (10, {"num_validations": 0}, set()),
        (10, {"num_validations": 4}, {2, 5, 8, 10}),
        (2, {"num_validations": 9}, {1, 2}),
        (10, {"validate_every_steps": 3}, {3, 6, 9, 10}),
        (9, {"validate_every_steps": 3}, {3, 6, 9}),
        (2, {"validate_every_steps": 3}, {2}),
        (6, {"validate_every_steps": 4, "num_validations": 0}, {4, 6}),
    ],
)
def test_the_last_step_is_validated(
    total: int, settings: dict[str, int], expected: set[int]
) -> None:
    assert validation_steps(total, TrainConfig.model_validate(settings)) == expected


@pytest.mark.parametrize(
    ("examples", "size", "steps"),
    [(2, 2, 3), (20, 2, 30), (147, 2, 100), (400, 4, 100), (800, 8, 100), (5000, 16, 313)],
)
def test_small_data_gets_smaller_batches_and_more_epochs(
    examples: int, size: int, steps: int
) -> None:
    config, method = TrainConfig(), LoraConfig()
    assert batch_size(config, examples) == size
    order = BatchOrder(examples, size, seed=0)
    assert total_steps(order, config, method) == steps
    assert 1 <= planned_epochs(order, config, method) <= 3


def test_given_batches_and_epochs_stay() -> None:
    config = TrainConfig(batch_size=16, epochs=1)
    assert batch_size(config, 20) == 16
    order = BatchOrder(20, 16, seed=0)
    assert total_steps(order, config, LoraConfig()) == 2
    assert total_steps(order, TrainConfig(), LoraConfig(epochs=2)) == 4
