"""Activation checkpointing: recomputation of activations in the backward pass."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import create_selective_checkpoint_contexts

from luthier.config.train import Checkpointing

_ATEN = torch.ops.aten
# Operations whose results selective checkpointing keeps: weight products and fused attention.
# Products inside unfused attention grow with the squared length, and some are modified in place.
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
    """Enable activation checkpointing for each layer of a transformers model.

    Args:
        model: the model, or a peft model around it.
        again: ``full`` keeps the input of each layer (Chen et al. 2016, arXiv 1604.06174);
            ``selective`` also keeps results of weight products and attention (after Korthikanti et
            al. 2022, arXiv 2205.05198); ``none`` leaves the model unchanged.
    """
    if again == "none":
        return
    options: dict[str, Any] = {"use_reentrant": False}
    if again == "selective":
        options["context_fn"] = partial(create_selective_checkpoint_contexts, _KEPT)
    model.gradient_checkpointing_enable(options)
    # Transformers makes the embeddings' output require a gradient, which passes through layers that
    # need none; only reentrant checkpointing depends on that.
    model.disable_input_require_grads()
