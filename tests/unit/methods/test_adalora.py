"""AdaLoRA spends its rank where it matters, and forgets nothing when it is interrupted."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from luthier.config.methods import AdaloraConfig
from luthier.core.console import Console
from luthier.methods import load_adapted
from luthier.methods.adalora import AdaloraMethod

SETTINGS = {"rank": 6, "final_rank": 3, "prune_every": 2}
LONG = {"epochs": 4, "num_validations": 0}


def ranks(model: Any) -> list[int]:
    """Directions with a factor that is not zero, layer by layer."""
    return [int((w != 0).sum()) for n, w in model.named_parameters() if "lora_E" in n]


def test_the_mean_rank_at_the_end_is_the_one_asked_for(small_tune: Any) -> None:
    loaded, _, _ = small_tune(method="adalora", settings=SETTINGS, train=LONG)
    left = ranks(loaded.model)
    assert sum(left) == 3 * len(left)
    assert len(set(left)) > 1  # some layers need more than others


def test_a_saved_adapter_holds_the_directions_that_are_left(
    small_tune: Any, load: Any, tiny_llama: Any
) -> None:
    from luthier.config import ModelConfig

    loaded, _, run = small_tune(method="adalora", settings=SETTINGS, train=LONG)
    described = ModelConfig(id=str(tiny_llama), dtype="float32")
    again = load_adapted(run.model, described, Console(quiet=True))
    ids_BT = torch.arange(3, 23).reshape(2, 10)
    with torch.no_grad():
        expected, found = (one.model(input_ids=ids_BT).logits for one in (loaded, again))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert ranks(again.model) == ranks(loaded.model)


def test_weights_of_an_earlier_step_keep_their_own_directions(
    small_tune: Any, load: Any, tiny_llama: Any
) -> None:
    """The best weights may be from before the last pruning; all of them must be saved."""
    from luthier.config import ModelConfig

    loaded, record, run = small_tune(
        method="adalora",
        settings=SETTINGS | {"learning_rate": 0.6},
        train={"epochs": 4, "num_validations": 20, "schedule": "constant"},
    )
    assert record.best_step < record.steps
    described = ModelConfig(id=str(tiny_llama), dtype="float32")
    again = load_adapted(run.model, described, Console(quiet=True))
    ids_BT = torch.arange(3, 23).reshape(2, 10)
    with torch.no_grad():
        expected, found = (one.model(input_ids=ids_BT).logits for one in (loaded, again))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_penalty_is_pefts(load: Any, tiny_llama: Any) -> None:
    loaded = load(tiny_llama)
    method = AdaloraMethod(AdaloraConfig(orth_reg_weight=0.25))
    torch.manual_seed(0)
    model = method.prepare(loaded)
    settings = model.peft_config["default"]
    settings.orth_reg_weight = 0.25
    ids_BT = torch.arange(3, 23).reshape(2, 10)
    penalty = method.hooks(model, 30).penalty()
    with torch.no_grad():
        with_penalty = model(input_ids=ids_BT, labels=ids_BT).loss
        settings.orth_reg_weight = 0.0
        without = model(input_ids=ids_BT, labels=ids_BT).loss
    assert penalty is not None
    assert float(penalty.detach()) == pytest.approx(float(with_penalty - without), rel=1e-3)


def test_a_training_too_short_to_prune_prunes_nothing(small_tune: Any) -> None:
    loaded, record, _ = small_tune(
        method="adalora", settings=SETTINGS, train={"epochs": 0.4, "num_validations": 0}
    )
    assert record.steps == 2
    assert set(ranks(loaded.model)) == {6}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 8, "final_rank": 8}, "must be below rank 8"),
        ({"start": 0.5, "tfinal_fraction": 0.5}, "must leave steps for pruning"),
    ],
)
def test_settings_that_cannot_prune_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AdaloraConfig(**settings)
