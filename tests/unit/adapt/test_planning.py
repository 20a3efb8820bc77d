"""What a tuning is planned to take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from luthier.adapt import prepare
from luthier.adapt.planning import plan_tuning
from luthier.config import RunConfig
from luthier.config.load import override
from luthier.core.console import Console


@pytest.mark.parametrize(
    ("model", "settings", "keeps"),
    [
        ("tiny_llama", {}, True),
        ("tiny_llama", {"methods.last-layers.cache": False}, False),
        ("tiny_llama", {"train.epochs": 1}, False),
        ("tiny_llama", {"methods.last-layers.layers": 2}, False),
        ("tiny_t5", {}, False),
    ],
)
def test_what_frozen_layers_gave_is_counted_where_it_is_kept(
    model: str,
    settings: dict[str, Any],
    keeps: bool,
    quick_settings: dict[str, Any],
    request: pytest.FixtureRequest,
) -> None:
    folder: Path = request.getfixturevalue(model)
    chosen = {"model.id": str(folder), "model.dtype": "float32", "methods.last-layers.layers": 1}
    config = override(RunConfig(), quick_settings | chosen | settings)
    setup = prepare(config, Console(quiet=True))
    data = setup.training_data("last-layers")
    plan = plan_tuning(setup, "last-layers", data)
    assert plan is not None
    tokens = sum(len(example.input_ids) for example in data.train)
    assert plan.memory.cache == (tokens * 32 * 4 if keeps else 0)
