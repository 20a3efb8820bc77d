"""A small tuning that runs for real, by name of model and method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from luthier.config import RunConfig
from luthier.core.console import Console
from luthier.core.run_directory import RunDirectory
from luthier.data.general import general_texts
from luthier.data.replay import general_example
from luthier.prompts.render import TrainingExample
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


def _general_examples(loaded: Any, count: int) -> tuple[TrainingExample, ...]:
    """The beginnings of so many general texts."""
    texts = general_texts("python-topics", Console(quiet=True))[:count]
    ids = [loaded.tokenizer(text)["input_ids"][:48] for text, _ in texts]
    question = loaded.tokenizer.eos_token_id if loaded.is_encoder_decoder else None
    return tuple(
        general_example(f"general-{number}", each, question) for number, each in enumerate(ids)
    )


Tuned = Callable[..., tuple[Any, Any, RunDirectory]]


@pytest.fixture(scope="session")
def general_examples() -> Any:
    """Makes tokenised general texts: ``general_examples(loaded, count)``."""
    return _general_examples


@pytest.fixture
def small_tune(
    load: Any, make_examples: Any, request: pytest.FixtureRequest, tmp_path: Path
) -> Tuned:
    """Tunes on ten examples: ``small_tune("tiny_llama", "lora", run="a", train={…})``.

    ``general`` texts are mixed in with a share of ``replay``, and watched where a guard does so.
    """

    def run_it(
        model: str = "tiny_llama",
        method: Any = "lora",
        *,
        run: str = "run",
        train: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        dtype: str = "float32",
        fingerprint: str = "the data",
        validate: bool = True,
        general: int = 0,
        replay: float = 0.0,
        observers: Sequence[Any] = (),
        console: Console | None = None,
        **more: Any,
    ) -> tuple[Any, Any, RunDirectory]:
        config = RunConfig.model_validate(
            {
                "train": {"epochs": 2, "batch_size": 2, "micro_batch_tokens": 128} | (train or {}),
                "data": {"replay": replay},
                "methods": {
                    method: {"learning_rate": LEARNING_RATES[method]}
                    | TOLD.get(method, {})
                    | (settings or {}),
                },
            }
        )
        base = load(request.getfixturevalue(model), dtype, config.base_of(method).quantisation)
        examples = make_examples(base, 13)
        texts = _general_examples(base, general)
        data = TrainingData(
            examples[:10],
            examples[10:] if validate else (),
            fingerprint,
            general=texts if replay else (),
            watched=texts if config.train.guards.max_forgetting else (),
        )
        directory = RunDirectory.create(tmp_path, run)
        console = console or Console(quiet=True)
        loaded, record = tune(base, method, config, data, directory, console, observers, **more)
        return loaded, record, directory

    return run_it
