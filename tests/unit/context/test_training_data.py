"""Replayed texts are weighted in the loss as a source of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from luthier.api.configuration import configure
from luthier.context.prepare import prepare
from luthier.context.training_data import training_data
from luthier.core.console import Console


@pytest.mark.parametrize("by", ["token", "example", "source"])
def test_replayed_texts_count_as_the_loss_weight_says(
    by: str, tiny_llama: Path, quick_settings: dict[str, Any]
) -> None:
    settings = {"model.id": str(tiny_llama), "data.replay": 0.3, "train.loss_weight": by}
    context = prepare(configure(None, quick_settings | settings), Console(quiet=True))
    data = training_data(context, "lora")
    assert data.general
    own, general = (
        sum(one.weight * one.num_trained for one in part) / len(part)  # type: ignore[attr-defined]
        for part in (data.train, data.general)
    )
    if by == "token":
        assert general > 2 * own
    else:
        assert general == pytest.approx(own)
