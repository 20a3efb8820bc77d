"""The memory plan counts what is held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from luthier.config import FullConfig, LoraConfig
from luthier.plan import MemoryPlan, plan_inference, plan_training, read_shape


@pytest.fixture
def shape(tiny_llama: Path) -> Any:
    return read_shape(tiny_llama)


def plan(shape: Any, method: Any = None, **changes: Any) -> MemoryPlan:
    settings = {
        "weight_bytes": 4,
        "micro_batch_tokens": 1000,
        "trained_tokens": 100,
        "checkpointing": False,
    }
    return plan_training(shape, method or FullConfig(), **settings | changes)


def test_full_tuning_holds_a_gradient_and_two_moments(shape: Any) -> None:
    made = plan(shape)
    assert made.weights == 4 * shape.parameters
    assert made.trained == 12 * shape.parameters
    assert made.total == sum(made.model_dump().values())


def test_bfloat16_halves_the_weights_and_adds_masters(shape: Any) -> None:
    made = plan(shape, weight_bytes=2)
    assert made.weights == 2 * shape.parameters
    assert made.trained == 16 * shape.parameters


def test_lora_holds_optimizer_state_for_the_adapter_alone(shape: Any) -> None:
    assert plan(shape, LoraConfig(rank=4)).trained == 12 * shape.lora_parameters(4)


def test_checkpointing_takes_less(shape: Any) -> None:
    assert plan(shape, checkpointing=True).activations < plan(shape).activations


def test_activations_and_logits_grow_with_their_tokens(shape: Any) -> None:
    small, large = plan(shape), plan(shape, micro_batch_tokens=2000, trained_tokens=300)
    assert large.activations == 2 * small.activations
    assert large.logits == 3 * small.logits == 300 * 49152 * 12


def test_the_cache_is_not_underestimated(shape: Any) -> None:
    made = plan_inference(shape, weight_bytes=4, batch_tokens=100)
    # Two layers, two key/value heads of eight numbers, keys and values.
    assert made.cache >= 100 * 2 * 2 * 8 * 2 * 4
    assert made.trained == made.activations == made.logits == 0
