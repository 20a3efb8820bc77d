"""Every adapter that is counted as trained gets a gradient, whatever the architecture."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from tests.families import family

from luthier.config import MethodsConfig
from luthier.methods import method_for

FAMILIES = ("llama", "gpt2", "mixtral", "phimoe", "llama4_text", "mamba", "falcon_mamba", "jamba")


@pytest.mark.parametrize("kind", FAMILIES)
def test_all_linear_adapts_only_what_learns(kind: str) -> None:
    """Routers that give two tensors, and weights that kernels read past the module, do not."""
    loaded = family(kind)
    torch.manual_seed(0)
    methods = MethodsConfig.model_validate({"lora": {"targets": "all-linear"}})
    model = method_for("lora", methods).prepare(replace(loaded, model=deepcopy(loaded.model)))
    model.train()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                # LoRA's second matrix begins at zero, and with it the first one's gradient.
                parameter.add_(0.1 * torch.randn_like(parameter))
    ids = torch.randint(3, 40, (2, 12))
    model(input_ids=ids, labels=ids).loss.backward()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert trained
    assert not [name for name, parameter in trained.items() if parameter.grad is None]
    assert not any(".router." in name or "dt_proj" in name for name in trained)
