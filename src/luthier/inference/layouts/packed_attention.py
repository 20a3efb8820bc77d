"""Attention that reads a shared prefix where it lies, and each row's own tokens beside it.

Attention over several stretches of keys is the mean of the attentions over each, weighted by the
sums of their exponentials (Dao et al. 2022, arXiv 2205.14135, section 3.1; Juravsky et al. 2024,
arXiv 2402.05099). So the keys of a prefix are neither copied for every row nor masked, and all rows
that continue it are one product with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface

from luthier.inference.branch_cache import SplitLayer

_NAME = "luthier-branches"
# torch's own attention on a CPU; the public functions keep the sums of exponentials to themselves.
_FLASH = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
# What some models add to attention, by the name under which transformers passes it on.
_ADDITIONS = ("sliding_window", "softcap", "s_aux", "position_bias", "head_mask")


class _Part(NamedTuple):
    """Attention over some of the keys.

    Attributes:
        mean_BHTD: of the values.
        log_sum_BHT: of the exponentials that weigh them.
    """

    mean_BHTD: Tensor
    log_sum_BHT: Tensor


def may_branch(model: Any) -> bool:
    """Whether a model's attention can be exchanged for this one; what it gives is to be tried out.

    Args:
        model: a transformers or peft model.
    """
    base = _base(model)
    config = base.config.get_text_config(decoder=True)
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    replaceable = getattr(base, "_supports_attention_backend", False)
    return bool(_FLASH and base.device.type == "cpu" and replaceable and not kinds)


@contextmanager
def branch_attention(model: Any) -> Iterator[None]:
    """Let a model's layers attend like this while it is given a cache of `SplitLayer`.

    Its forward wants the cache a second time, as the keyword ``branches``, which transformers'
    models hand on to their attention.
    """
    base = _base(model)
    before = base.config._attn_implementation
    base.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        base.set_attn_implementation(before)


def _base(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "peft_config") else model


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    branches: Any = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Tensor, None]:
    """One layer; see `transformers.AttentionInterface`.

    Args:
        module: the layer's attention.
        query: ``[B, H, T, D]``.
        key: of the new tokens, ``[B, G, T, D]``; H is a multiple of G.
        value: of the new tokens, like ``key``.
        attention_mask: none is made, so there is none.
        branches: the cache, whose layer knows what the new tokens continue.
        scaling: what products of queries and keys are multiplied by.
        dropout: none, since nothing is trained.
        others: what else a model gives.

    Returns:
        ``[B, T, H, D]``, and no weights.

    Raises:
        NotImplementedError: the model wants more than plain causal attention.
    """
    wanted = [name for name in _ADDITIONS if others.get(name) is not None]
    kept = branches is not None and module.layer_idx < len(branches.layers)
    if not kept or attention_mask is not None or dropout or wanted:
        raise NotImplementedError(f"attention in branches with {wanted or 'a mask, or no cache'}")
    groups = query.shape[1] // key.shape[1]
    whole = _over(query, _repeat(key, groups), _repeat(value, groups), scaling, causal=True)
    layer: SplitLayer = branches.layers[module.layer_idx]
    for before, rows_B in layer.ancestors():
        whole = _together(whole, _over_prefix(query, before, rows_B, scaling))
    return whole.mean_BHTD.transpose(1, 2).contiguous(), None


def _over_prefix(
    query_BHTD: Tensor, layer: SplitLayer, rows_B: Tensor, scaling: float | None
) -> _Part:
    """Attention over an earlier pass, all of which every new token sees.

    The heads that share keys stand in one row of queries, and so do all rows that share them.
    """
    B, H, T, D = query_BHTD.shape
    G = layer.keys.shape[1]
    grouped_BGNTD = query_BHTD.view(B, G, H // G, T, D)
    if len(layer.keys) == 1:
        one = grouped_BGNTD.permute(1, 2, 0, 3, 4).reshape(1, G, -1, D)
        mean, log_sum = _over(one, layer.keys, layer.values, scaling, causal=False)
        mean = mean.view(G, H // G, B, T, D).permute(2, 0, 1, 3, 4)
        log_sum = log_sum.view(G, H // G, B, T).permute(2, 0, 1, 3)
    else:
        keys, values = layer.keys[rows_B], layer.values[rows_B]
        queries = grouped_BGNTD.reshape(B, G, -1, D)
        mean, log_sum = _over(queries, keys, values, scaling, causal=False)
    return _Part(mean.reshape(B, H, T, D), log_sum.reshape(B, H, T))


def _over(query: Tensor, key: Tensor, value: Tensor, scale: float | None, *, causal: bool) -> _Part:
    return _Part(*_FLASH(query, key, value, 0.0, causal, scale=scale))  # type: ignore[misc]


def _together(one: _Part, other: _Part) -> _Part:
    """Attention over the keys of both."""
    weight_BHT = torch.sigmoid(other.log_sum_BHT - one.log_sum_BHT)
    weight_BHT1 = weight_BHT.to(one.mean_BHTD.dtype)[..., None]
    return _Part(
        torch.lerp(one.mean_BHTD, other.mean_BHTD, weight_BHT1),
        torch.logaddexp(one.log_sum_BHT, other.log_sum_BHT),
    )


def _repeat(states_BGTD: Tensor, times: int) -> Tensor:
    """Keys or values for every head; those that share some stand side by side."""
    return states_BGTD.repeat_interleave(times, dim=1) if times > 1 else states_BGTD


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, lambda *_, **__: None)
