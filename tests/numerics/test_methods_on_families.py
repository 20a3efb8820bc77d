"""Every method on every architecture: it learns and is kept, or is refused before it trains.

Either one pass gives each trained parameter a gradient, a model without weights counts as many of
them, and what is saved gives the same logits again; or the reason is told beforehand.
"""

from __future__ import annotations

import dataclasses
from copy import deepcopy
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from tests.families import COMMON, ENCODER_DECODERS, OTHER, OTHER_ENCODER_DECODERS, family

from luthier.config import MethodsConfig
from luthier.core.errors import LuthierError
from luthier.core.method_facts import METHOD_NAMES, MethodName
from luthier.methods import method_for
from luthier.methods.bottleneck import has_adapters, load_adapters, save_adapters
from luthier.methods.gradient_reach import reach_of
from luthier.models.forward import without_cache
from luthier.models.load import LoadedModel
from luthier.models.quiet_transformers import quiet_transformers

SETTINGS: dict[str, Any] = {
    "selective": {"parameters": ["."]},
    "last-layers": {"layers": 1},
    "vera": {"rank": 4},
    "adapters": {"bottleneck": 4},
}
# Settings with which a model has all its kinds of layers.
CHANGED: dict[str, dict[str, Any]] = {
    "deepseek_v2": {"first_k_dense_replace": 1},
    "deepseek_v3": {"first_k_dense_replace": 1},
    "dots1": {"first_k_dense_replace": 1},
    "glm4_moe": {"first_k_dense_replace": 1},
    "ernie4_5_moe": {"moe_layer_start_index": 1},
    "m2m_100": {"encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0},
}
# Stacks beside ordinary layers, kernels, recurrence, one head of keys, routers written as linear
# layers, norms without a scale, cross-attention without an encoder, attention nobody asks for,
# names that peft changes in files, code that asks for numbers.
FEW = "llama gpt2 gpt_bigcode deepseek_v3 qwen3_next llama4_text falcon_h1 mamba bart deepseek_v32 "
FEW += "laguna jetmoe"
FEW_ENCODER_DECODERS = "t5 led"


def cases() -> list[Any]:
    """All architectures; most of them only in long runs."""
    found = []
    for is_both, kinds, few in (
        (False, sorted({*COMMON, *OTHER}), FEW.split()),
        (True, sorted({*ENCODER_DECODERS, *OTHER_ENCODER_DECODERS}), FEW_ENCODER_DECODERS.split()),
    ):
        for kind in kinds:
            marks = () if kind in few else (pytest.mark.long,)
            name = f"{kind}-both" if is_both else kind
            found.append(pytest.param(kind, is_both, id=name, marks=marks))
    return found


@pytest.mark.sample(3)
@pytest.mark.parametrize(("kind", "is_both"), cases())
def test_every_method_learns_or_is_refused(kind: str, is_both: bool, tmp_path: Path) -> None:
    base = family(kind, encoder_decoder=is_both, **CHANGED.get(kind, {}))
    assert len(METHOD_NAMES) == 16
    refused = {name for name in METHOD_NAMES if not learns(base, name, tmp_path / name)}
    # Every model has something to train.
    assert not {"full", "last-layers", "lora"} & refused


def learns(base: LoadedModel, name: MethodName, folder: Path) -> bool:
    """Whether a method is not refused; all that it promises is checked."""
    torch.manual_seed(0)
    foretold, counted, is_known = outline(base, name)
    try:
        model = prepared(base, name)
    except LuthierError:
        return False
    assert not foretold, foretold
    trained = {key: one for key, one in model.named_parameters() if one.requires_grad}
    numbers = sum(one.numel() for one in trained.values())
    # Code that needs numbers cannot show which parameters the output does not depend on.
    assert numbers == counted if is_known else numbers <= counted, name
    ids = torch.randint(3, 100, (2, 16), generator=torch.Generator().manual_seed(1))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    inputs |= without_cache(base.model)  # as the loop gives them
    model.train()
    for _ in range(2):  # of two factors one begins at zero
        model.zero_grad()
        loss = model(**inputs, labels=ids).loss
        assert torch.isfinite(loss), name
        loss.backward()
        mute = [key for key, one in trained.items() if one.grad is None and "expert" not in key]
        assert not mute, (name, mute[:3])
        with torch.no_grad():
            for one in trained.values():
                one.sub_(0.01 * (one.grad if one.grad is not None else 0))
    model.eval()
    if base.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids
    with torch.no_grad():
        expected = model(**inputs).logits
        again = loaded_again(base, model, folder)
        torch.testing.assert_close(again(**inputs).logits, expected, rtol=1e-4, atol=1e-4)
    return True


def prepared(base: LoadedModel, name: MethodName) -> Any:
    """A model of its own that a method has prepared."""
    methods = MethodsConfig.model_validate({name: SETTINGS.get(name, {})})
    own = dataclasses.replace(base, model=deepcopy(base.model))
    return method_for(name, methods).prepare(own)


def outline(base: LoadedModel, name: MethodName) -> tuple[str, int, bool]:
    """What is known without weights.

    Returns:
        The reason for which the method is refused, the numbers that it trains, and whether the
        model's code could be run.
    """
    builder = type(base.model)
    with torch.device("meta"), quiet_transformers():
        model = builder._from_config(deepcopy(base.model.config))
    bare = dataclasses.replace(base, model=model, device=torch.device("meta"))
    try:
        found = prepared(bare, name)
    except LuthierError as error:
        return str(error), 0, True
    named = found.named_parameters()
    counts = (one.numel() for key, one in named if one.requires_grad and "ranknum" not in key)
    return "", sum(counts), reach_of(bare).is_known


def loaded_again(base: LoadedModel, model: Any, folder: Path) -> Any:
    """What was saved, read by transformers and by peft themselves."""
    folder.mkdir()
    own = deepcopy(base.model)
    with quiet_transformers():
        if has_adapters(model):
            save_adapters(model, "base", folder)
            return load_adapters(own, folder).eval()
        if hasattr(model, "peft_config"):
            model.save_pretrained(folder)
            return peft.PeftModel.from_pretrained(own, folder).eval()
        own.load_state_dict(model.state_dict())
        return own.eval()
