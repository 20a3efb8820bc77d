"""Attention over packed texts that reads the keys of earlier passes in place.

Attention over several blocks of keys is the mean of the attentions over each block, weighted by the
sums of their exponentials (Dao et al. 2022, arXiv 2205.14135, section 3.1; Juravsky et al. 2024,
arXiv 2402.05099). So the keys of a prefix are neither copied nor masked. All texts that continue a
prefix attend to it in one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface

from luthier.inference.local.layouts.packing import PackedCache, PackedLayer, Packing, Run
from luthier.models.kinds import without_adapter

_NAME = "luthier-packed"
# torch's own attention on a CPU: the public functions do not return the sums of exponentials.
_FLASH = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
# One batched call is faster for texts of at most `_SHORT` tokens if the padded rectangle has at
# most `_MOST_AREA` places per token; otherwise one call per text is faster (lab/LOG.md).
_SHORT = 64
_MOST_AREA = 3
# Extensions of attention in some models, by the keyword under which transformers passes them on.
_ADDITIONS = ("sliding_window", "softcap", "s_aux", "position_bias", "head_mask")


class _Part(NamedTuple):
    """Attention over some of the keys.

    Attributes:
        mean_BHTD: the weighted mean of the values.
        log_sum_BHT: the logarithm of the sum of the exponentials that are the weights.
    """

    mean_BHTD: Tensor
    log_sum_BHT: Tensor


def may_pack(model: Any) -> bool:
    """Whether a model's attention can be replaced by this one; `Trial` tests the results.

    Args:
        model: a transformers or peft model.
    """
    base = without_adapter(model)
    config = base.config.get_text_config(decoder=True)
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    replaceable = getattr(base, "_supports_attention_backend", False)
    return bool(_FLASH and base.device.type == "cpu" and replaceable and not kinds)


@contextmanager
def packed_attention(model: Any) -> Iterator[None]:
    """Replace the attention of a model's layers, for passes with a `PackedCache`.

    The forward pass also needs the cache as the keyword ``packed``, which transformers' models hand
    on to their attention.
    """
    base = without_adapter(model)
    before = base.config._attn_implementation
    base.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        base.set_attn_implementation(before)


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed: PackedCache | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention of one layer; see `transformers.AttentionInterface`.

    Args:
        module: the layer's attention.
        query: ``[1, H, N, D]``.
        key: keys of the new tokens, ``[1, G, N, D]``; H is a multiple of G.
        value: values of the new tokens, like ``key``.
        attention_mask: must be None; no mask is made.
        packed: the cache, with the places of texts and the passes that they continue.
        scaling: the factor of the products of queries and keys.
        dropout: must be 0, because nothing is trained.
        others: further arguments of the model.

    Returns:
        ``[1, N, H, D]``, and None instead of weights.

    Raises:
        NotImplementedError: the model needs more than plain causal attention.
    """
    wanted = [name for name in _ADDITIONS if others.get(name) is not None]
    if packed is None or packed.packing is None or module.layer_idx >= len(packed.layers):
        raise NotImplementedError("attention without a cache of this kind")
    if attention_mask is not None or dropout or wanted:
        raise NotImplementedError(f"attention with {wanted or 'a mask or dropout'}")
    packing, layer = packed.packing, packed.layers[module.layer_idx]
    whole = _over_own(query, key, value, packing, scaling)
    for runs, before in zip(packing.runs, layer.earlier(), strict=True):
        whole = _together(whole, _over_earlier(query, before, runs, scaling))
    return whole.mean_BHTD.transpose(1, 2).contiguous(), None


def _over_own(
    query: Tensor, key: Tensor, value: Tensor, packing: Packing, scaling: float | None
) -> _Part:
    """Attention of each new token over those before it in its own text."""
    small = max(packing.lengths) <= _SHORT and packing.area <= _MOST_AREA * packing.total
    over = _over_all if small and query.dtype == torch.float32 else _over_each
    return over(query, key, value, packing, scaling)


def _over_each(
    query: Tensor, key: Tensor, value: Tensor, packing: Packing, scaling: float | None
) -> _Part:
    """Causal attention within each text, one call per text."""
    G = key.shape[1]
    R = query.shape[1] // G
    # The heads that share keys form a dimension of stride 0 in keys and values.
    query_GRND = query.view(G, R, *query.shape[2:])
    key_GRND, value_GRND = (x[0, :, None].expand(-1, R, -1, -1) for x in (key, value))
    parts = [
        _over(
            query_GRND[:, :, own],
            key_GRND[:, :, own],
            value_GRND[:, :, own],
            scaling,
            causal=True,
        )
        for own in packing.parts
    ]
    mean_GRND, log_sum_GRN = _joined(parts)
    return _Part(mean_GRND.flatten(0, 1)[None], log_sum_GRN.flatten(0, 1)[None])


def _over_all(
    query: Tensor, key: Tensor, value: Tensor, packing: Packing, scaling: float | None
) -> _Part:
    """Causal attention within each text, with all texts as the rows of one rectangle."""
    query_BHTD, key_BGTD, value_BGTD = (packing.apart(x) for x in (query, key, value))
    B, H, T, D = query_BHTD.shape
    G = key.shape[1]
    # The queries of heads that share keys are stacked along the time dimension.
    query_BSD, key_BTD, value_BTD = (
        x.view(B * G, -1, D) for x in (query_BHTD, key_BGTD, value_BGTD)
    )
    later_ST = torch.full((T, T), -torch.inf).triu(1).repeat(H // G, 1)
    scale = D**-0.5 if scaling is None else scaling
    logits_BST = torch.baddbmm(later_ST.expand(B * G, -1, -1), query_BSD, key_BTD.mT, alpha=scale)
    weights_BST = logits_BST.softmax(-1)
    mean_BSD = weights_BST @ value_BTD
    # The largest weight is its exponential divided by their sum.
    log_sum_BS = logits_BST.amax(-1) - weights_BST.amax(-1).log()
    return _Part(
        packing.together(mean_BSD.view(B, H, T, D)), packing.together(log_sum_BS.view(B, H, T))
    )


def _over_earlier(
    query: Tensor, layer: PackedLayer, runs: tuple[Run, ...], scaling: float | None
) -> _Part:
    """Attention over an earlier pass; a new token sees all tokens of the text it continues."""
    parts = [
        _over_prefix(
            query[:, :, run.own],
            layer.keys[:, :, run.before],
            layer.values[:, :, run.before],
            scaling,
        )
        for run in runs
    ]
    return _joined(parts)


def _over_prefix(query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> _Part:
    """Attention without a mask; the queries of heads that share keys are stacked."""
    _, H, T, D = query.shape
    G = key.shape[1]
    grouped = query.view(1, G, H // G, T, D).flatten(2, 3)
    mean, log_sum = _over(grouped, key, value, scaling, causal=False)
    return _Part(mean.view(1, G, -1, T, D).flatten(1, 2), log_sum.view(1, G, -1, T).flatten(1, 2))


def _over(query: Tensor, key: Tensor, value: Tensor, scale: float | None, *, causal: bool) -> _Part:
    return _Part(*_FLASH(query, key, value, 0.0, causal, scale=scale))  # type: ignore[misc]


def _joined(parts: Sequence[_Part]) -> _Part:
    """Concatenate the attention of consecutive queries."""
    if len(parts) == 1:
        return parts[0]
    means, log_sums = zip(*parts, strict=True)
    return _Part(torch.cat(means, dim=2), torch.cat(log_sums, dim=2))


def _together(one: _Part, other: _Part) -> _Part:
    """Attention over the keys of both parts."""
    weight_BHT = torch.sigmoid(other.log_sum_BHT - one.log_sum_BHT)
    weight_BHT1 = weight_BHT.to(one.mean_BHTD.dtype)[..., None]
    return _Part(
        torch.lerp(one.mean_BHTD, other.mean_BHTD, weight_BHT1),
        torch.logaddexp(one.log_sum_BHT, other.log_sum_BHT),
    )


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, lambda *_, **__: None)
