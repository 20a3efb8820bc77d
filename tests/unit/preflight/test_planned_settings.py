"""The plan that a tuning prints is that of its own settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from luthier.config import load_config
from luthier.context.prepare import prepare
from luthier.context.training_data import training_data
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.planning import MemoryPlan
from luthier.preflight.memory_check import check_memory, plan_within_memory


@pytest.fixture
def planned(tiny_llama: Path, parity_file: Path) -> Any:
    """The plan of full tuning with some settings: ``planned(optimizer="sgd")``."""

    def plan(
        dtype: str = "float32", checked: bool = False, method: Any = "full", **loop: Any
    ) -> MemoryPlan:
        flags = {
            "model.id": str(tiny_llama),
            "model.dtype": dtype,
            "data.source": str(parity_file),
            **{f"train.{name}": value for name, value in loop.items()},
        }
        setup = prepare(load_config(flags=flags), Console(quiet=True))
        make = check_memory if checked else plan_within_memory
        found = make(setup, method, training_data(setup, method))
        assert found
        return found.memory

    return plan


TABLE = 2048 * 32
PARAMETERS = TABLE + 18_592  # two layers, whose matrices are below 4,096 numbers, and norms


def test_states_are_those_of_the_optimizer_and_the_precision(planned: Any) -> None:
    assert planned().optimizer == 8 * PARAMETERS
    assert planned(optimizer="sgd").optimizer == 0
    assert planned(optimizer="adafactor").optimizer < 0.2 * PARAMETERS
    short = 2 * TABLE * (1 + 4 / 256) + 8 * (PARAMETERS - TABLE)
    assert planned(optimizer="adamw-8bit").optimizer == short
    assert planned("bfloat16").optimizer == 12 * PARAMETERS
    pure = planned("bfloat16", master_weights=False)
    assert (pure.weights, pure.optimizer) == (2 * PARAMETERS, 4 * PARAMETERS)


def test_activations_are_those_that_are_kept(planned: Any) -> None:
    none, selective, full = (
        planned(method="lora", activation_checkpointing=again).activations
        for again in ("none", "selective", "full")
    )
    # In a model this small what selective keeps besides, each layer's input, is not less.
    assert full < min(selective, none)
    assert selective != none


def test_an_optimizer_that_does_not_work_here_is_refused_before_the_model_is_loaded(
    planned: Any,
) -> None:
    with pytest.raises(UsageError, match="stochastically"):
        planned(checked=True, optimizer="sgd", master_weights=False)
