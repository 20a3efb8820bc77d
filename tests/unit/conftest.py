"""A small tuning that runs for real, by name of model and method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from luthier.config import RunConfig
from luthier.core.console import Console
from luthier.core.run_directory import RunDirectory
from luthier.train import TrainingData, tune

# Far above what a real model bears: tiny random ones learn little in a few steps.
LEARNING_RATES = {
    "full": 0.01,
    "bitfit": 0.05,
    "layernorm": 0.05,
    "last-layers": 0.02,
    "selective": 0.02,
    "lora": 0.05,
    "rslora": 0.05,
    "dora": 0.05,
    "adalora": 0.05,
    "qlora": 0.05,
    "vera": 0.5,
    "ia3": 0.5,
    "adapters": 0.02,
    "prompt-tuning": 0.5,
    "prefix-tuning": 0.5,
    "p-tuning": 0.02,
}

# What a method does not train without being told.
TOLD: dict[str, dict[str, Any]] = {"selective": {"parameters": ["mlp|Dense", "norm"]}}

Tuned = Callable[..., tuple[Any, Any, RunDirectory]]


@pytest.fixture
def small_tune(
    load: Any, make_examples: Any, request: pytest.FixtureRequest, tmp_path: Path
) -> Tuned:
    """Tunes on ten examples: ``small_tune("tiny_llama", "lora", run="a", train={…})``."""

    def run_it(
        model: str = "tiny_llama",
        method: Any = "lora",
        *,
        run: str = "run",
        train: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        dtype: str = "float32",
        fingerprint: str = "the data",
        observers: Sequence[Any] = (),
        console: Console | None = None,
        **more: Any,
    ) -> tuple[Any, Any, RunDirectory]:
        config = RunConfig.model_validate(
            {
                "train": {"epochs": 2, "batch_size": 2, "micro_batch_tokens": 128} | (train or {}),
                "methods": {
                    method: {"learning_rate": LEARNING_RATES[method]}
                    | TOLD.get(method, {})
                    | (settings or {}),
                },
            }
        )
        base = load(request.getfixturevalue(model), dtype, config.base_of(method).quantisation)
        examples = make_examples(base, 13)
        data = TrainingData(examples[:10], examples[10:], fingerprint)
        directory = RunDirectory.create(tmp_path, run)
        console = console or Console(quiet=True)
        loaded, record = tune(base, method, config, data, directory, console, observers, **more)
        return loaded, record, directory

    return run_it
