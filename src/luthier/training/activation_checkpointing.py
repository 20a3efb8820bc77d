"""Activation checkpointing: what the backward pass computes again."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import create_selective_checkpoint_contexts

from luthier.config.train import Checkpointing

_ATEN = torch.ops.aten
# What the selective kind keeps: products with weights, and attention where one kernel computes it.
# Products inside attention that is written out are as large as the length squared, and some are
# changed in place.
_KEPT = [
    _ATEN.mm.default,
    _ATEN.addmm.default,
    _ATEN._grouped_mm.default,
    _ATEN._scaled_dot_product_flash_attention.default,
    _ATEN._scaled_dot_product_flash_attention_for_cpu.default,
    _ATEN._scaled_dot_product_efficient_attention.default,
    _ATEN._scaled_dot_product_cudnn_attention.default,
]


def checkpoint_activations(model: Any, again: Checkpointing) -> None:
    """Have each layer of a transformers model compute activations again in its backward pass.

    Args:
        model: the model, or a peft model around it.
        again: ``full`` keeps the input of each layer (Chen et al. 2016, arXiv 1604.06174),
            ``selective`` what products and attention gave as well (after Korthikanti et al. 2022,
            arXiv 2205.05198); ``none`` leaves the model as it is.
    """
    if again == "none":
        return
    options: dict[str, Any] = {"use_reentrant": False}
    if again == "selective":
        options["context_fn"] = partial(create_selective_checkpoint_contexts, _KEPT)
    model.gradient_checkpointing_enable(options)
    # Transformers lets a gradient flow into the embeddings' output, through layers that need none;
    # reentrant checkpointing alone depends on that.
    model.disable_input_require_grads()
