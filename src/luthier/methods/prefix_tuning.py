"""Prefix tuning: trained keys and values in each layer (Li and Liang 2021, arXiv 2101.00190)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from luthier.config.methods import PrefixTuningConfig
from luthier.core.errors import UsageError
from luthier.methods.base import Adapted, Method
from luthier.methods.gradient_reach import Reach
from luthier.methods.initial_words import initial_ids
from luthier.methods.meta_device import numberless
from luthier.methods.peft_support import attach, task_type
from luthier.models.device import is_out_of_memory
from luthier.models.load import LoadedModel

_Layer: TypeAlias = tuple[Any, Any]  # keys and values of some tokens, as tensors


class PrefixTuningMethod(Method):
    """Trains the keys and values of ``virtual_tokens`` virtual tokens in the KV cache.

    Keys and values are trained directly, without the network of the paper's section 4.3.
    """

    name = "prefix-tuning"

    def __init__(self, config: PrefixTuningConfig) -> None:
        self.config = config

    def _adapt(self, loaded: LoadedModel, reach: Reach) -> Adapted:
        """See `Method.prepare`.

        The prefix is initialised with the cache of real tokens. Random numbers, peft's default,
        make the model useless at first, and a short training does not repair that. In an
        encoder-decoder model the decoder's self-attention gets the prefix, as in peft.

        Raises:
            UsageError: the layers cache keys of different shapes, or none; or the initial text has
                no tokens.
        """
        import peft
        import torch

        ids = initial_ids(loaded, self.config.initial_text, self.config.virtual_tokens, self.name)
        start = _cached(loaded.model, ids)
        if start is None:
            raise UsageError(
                f"not all layers of {loaded.stamp.architecture} cache keys and values, which a "
                "prefix needs",
                fix="choose prompt-tuning",
            )
        if len({part.shape for pair in start for part in pair}) > 1:
            raise UsageError(
                f"the cached keys and values of {loaded.stamp.architecture} differ in shape, which "
                "peft's prefixes do not support",
                fix="choose prompt-tuning",
            )
        if any(keys.shape != values.shape for keys, values in start):
            raise UsageError(
                f"keys and values of {loaded.stamp.architecture} differ in width, which peft's "
                "prefixes do not support",
                where="methods.prefix-tuning",
                fix="choose prompt-tuning",
            )
        if loaded.is_encoder_decoder:
            start = _as_peft_deals_them(start)
        heads, tokens, width = start[0][0].shape
        settings = peft.PrefixTuningConfig(
            task_type=task_type(loaded),
            num_virtual_tokens=tokens,
            num_layers=len(start),
            num_attention_heads=heads,
            token_dim=heads * width,
        )
        prepared = attach(loaded, settings, "methods.prefix-tuning")
        flat = torch.stack([part for pair in start for part in pair]).permute(2, 0, 1, 3).flatten(1)
        encoder = prepared.prompt_encoder[prepared.active_adapter]
        if encoder.embedding.weight.shape != flat.shape:
            raise UsageError(
                f"{loaded.stamp.architecture} caches keys of another shape ({heads} heads of width "
                f"{width}) than peft reads from its configuration",
                where="methods.prefix-tuning",
                fix="choose prompt-tuning",
            )
        encoder.load_prompt_embeddings(flat)
        return Adapted(prepared)


def _as_peft_deals_them(layers: Sequence[_Layer]) -> list[_Layer]:
    """Layers in the order in which peft assigns them in a decoder after an encoder.

    Of N keys and values, peft 0.21 gives layer i those numbered 2 i modulo N: it repeats them all
    and assigns four to a layer, of which the last two, meant for cross-attention, are dropped. An
    even N leaves half of them unused and makes two layers share the rest, so N is odd here; in a
    decoder with an even number of layers one pair is never read.
    """
    count = len(layers) | 1
    dealt = [layers[0]] * count
    for number, layer in enumerate(layers):
        dealt[2 * number % count] = layer
    return dealt


def _cached(model: Any, ids: Any) -> list[_Layer] | None:
    """The keys and values of some tokens in each layer of a decoder's cache.

    Args:
        model: a transformers model. The encoder of an encoder-decoder reads the same tokens.
        ids: (tokens,).

    Returns:
        Each (heads, tokens, head dimension); None: a layer caches something else, as in recurrent
        and hybrid models.
    """
    import torch
    from transformers.cache_utils import (
        DynamicCache,
        DynamicLayer,
        DynamicSlidingWindowLayer,
        EncoderDecoderCache,
    )

    inputs = {"input_ids": ids[None]}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids[None]
    was_training = model.training
    model.eval()
    with torch.no_grad(), numberless(ids.device):
        try:
            cache: Any = getattr(model(**inputs, use_cache=True), "past_key_values", None)
        except (RuntimeError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            cache = None  # a recurrent model may not support a cache here
    model.train(was_training)
    if isinstance(cache, EncoderDecoderCache):
        cache = cache.self_attention_cache
    layers = cache.layers if type(cache) is DynamicCache else []
    plain = all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)
    if not layers or not plain or not all(layer.is_initialized for layer in layers):
        return None
    return [(layer.keys[0], layer.values[0]) for layer in layers]
