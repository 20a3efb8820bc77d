"""What a run will take, and whether it can run at all, before any weights are loaded."""

from __future__ import annotations

from typing import Any, NamedTuple

from luthier.adapt.rungs import rungs_of
from luthier.adapt.setup import Setup
from luthier.adapt.tuning import check_memory, training_plan, usable_memory
from luthier.config.methods import MethodName
from luthier.data.batches import BatchOrder
from luthier.data.problems import Dropped
from luthier.evaluate.runner import render_prompts
from luthier.plan import read_shape
from luthier.plan.memory import trained_parameters


class Checked(NamedTuple):
    """What checking found.

    Attributes:
        methods: the tuning methods that will be used.
        longest_prompt: in tokens.
        dropped: training examples that this model cannot take.
    """

    methods: tuple[MethodName, ...]
    longest_prompt: int
    dropped: tuple[Dropped, ...]


def check_adapt(setup: Setup) -> Checked:
    """Check that every rung can use the examples. A rung that lacks memory is skipped later.

    Raises:
        UsageError: a metric is named twice.
        DataError: a prompt leaves no room for its answer in the context window, a metric does not
            apply, there are too few examples to show, or none is left to train on.
    """
    rungs = rungs_of(setup.config)
    tasks = [setup.task(shots) for shots in sorted({rung.shots for rung in rungs})]
    longest = max(len(p.ids) for task in tasks for p in render_prompts(setup.renderer, task))
    methods = tuple(rung.method for rung in rungs if rung.method)
    # Methods differ in settings, not in examples: one stands for all.
    dropped = setup.training_data(methods[0]).dropped if methods else ()
    return Checked(methods, longest, dropped)


def check_tune(setup: Setup) -> Checked:
    """Check that there is something to train on, and memory to do it.

    Raises:
        DataError: no training example is left, or one is too long and that is an error.
        ResourceError: it does not fit into memory.
    """
    method = setup.config.method
    data = setup.training_data(method)
    check_memory(setup, method, data)
    longest = max(example.prompt_length for example in data.train)
    return Checked((method,), longest, data.dropped)


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
