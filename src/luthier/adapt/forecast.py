"""What a run will take, before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from luthier.adapt.rungs import Rung
from luthier.adapt.setup import Setup
from luthier.adapt.tuning import training_plan, usable_memory
from luthier.config.methods import MethodName
from luthier.data.batches import BatchOrder
from luthier.evaluate.runner import render_prompts
from luthier.plan import read_shape
from luthier.plan.memory import trained_parameters


def longest_prompt(setup: Setup, rungs: Sequence[Rung]) -> int:
    """Tokens of the longest prompt of all rungs.

    Raises:
        DataError: a prompt leaves no room for its answer in the context window.
    """
    tasks = [setup.task(shots) for shots in sorted({rung.shots for rung in rungs})]
    return max(len(p.ids) for task in tasks for p in render_prompts(setup.renderer, task))


def forecast_method(setup: Setup, method: MethodName) -> dict[str, Any]:
    """Trained parameters, steps, and memory in bytes of tuning with ``method``.

    Raises:
        DataError: no training example is left.
    """
    config, data = setup.config, setup.training_data(method)
    settings = config.methods.of(method)
    order = BatchOrder(len(data.train), config.train.batch_size, config.seed)
    return {
        "method": method,
        "trained_parameters": trained_parameters(read_shape(setup.handle.folder.path), settings),
        "steps": order.total_steps(settings.epochs or config.train.epochs),
        "memory_bytes": training_plan(setup, method, data).total,
        "usable_bytes": config.adapt.memory or usable_memory(),
    }
