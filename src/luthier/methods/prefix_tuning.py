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

_Layer: TypeAlias = tuple[Any, Any]  # the keys and values of some tokens, as tensors


class PrefixTuningMethod(Method):
    """Trains what ``virtual_tokens`` tokens would have left in the key/value cache.

    The keys and values themselves are trained, without the network of the paper's section 4.3.
    """

    name = "prefix-tuning"

    def __init__(self, config: PrefixTuningConfig) -> None:
        self.config = config

    def _adapt(self, loaded: LoadedModel, reach: Reach) -> Adapted:
        """See `Method.prepare`.

        The prefix starts as what real tokens leave in the cache. Numbers drawn at random, peft's
        default, make the model useless at first and a short training does not mend that. Of an
        encoder-decoder it is the decoder's self-attention that has a prefix, as in peft.

        Raises:
            UsageError: the layers keep keys of different shapes, or no keys; the initial text has
                no tokens.
        """
        import peft
        import torch

        ids = initial_ids(loaded, self.config.initial_text, self.config.virtual_tokens, self.name)
        start = _cached(loaded.model, ids)
        if start is None:
            raise UsageError(
                f"the layers of {loaded.stamp.architecture} do not all keep keys and values, which "
                "a prefix consists of",
                fix="choose prompt-tuning",
            )
        if len({part.shape for pair in start for part in pair}) > 1:
            raise UsageError(
                f"the keys and values that {loaded.stamp.architecture} keeps are not of one shape, "
                "as peft's prefixes are",
                fix="choose prompt-tuning",
            )
        if any(keys.shape != values.shape for keys, values in start):
            raise UsageError(
                f"{loaded.stamp.architecture} keeps keys of another width than values, and peft's "
                "prefixes have one width",
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
                f"{loaded.stamp.architecture} keeps keys of another shape ({heads} heads of width "
                f"{width}) than peft takes from its configuration for a prefix",
                where="methods.prefix-tuning",
                fix="choose prompt-tuning",
            )
        encoder.load_prompt_embeddings(flat)
        return Adapted(prepared)


def _as_peft_deals_them(layers: Sequence[_Layer]) -> list[_Layer]:
    """In the order in which peft gives each layer of a decoder after an encoder its own.

    Of N keys and values peft 0.21 gives layer i those numbered 2 i modulo N: it repeats them all
    and deals four to a layer, of which the last two, meant for cross-attention, are dropped. An
    even N leaves half of them unused and makes two layers share the rest, so N is odd here; of a
    decoder with an even number of layers one pair is never read.
    """
    count = len(layers) | 1
    dealt = [layers[0]] * count
    for number, layer in enumerate(layers):
        dealt[2 * number % count] = layer
    return dealt


def _cached(model: Any, ids: Any) -> list[_Layer] | None:
    """What tokens leave in a decoder's key/value cache: the keys and values of each layer.

    Args:
        model: a transformers model. An encoder-decoder's encoder reads the same tokens.
        ids: (tokens,).

    Returns:
        Each (heads, tokens, head dimension); None: a layer keeps something else or more, as
        recurrent and hybrid ones do.
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
            cache = None  # a model of recurrent layers may not read one passage with a cache
    model.train(was_training)
    if isinstance(cache, EncoderDecoderCache):
        cache = cache.self_attention_cache
    layers = cache.layers if type(cache) is DynamicCache else []
    plain = all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)
    if not layers or not plain or not all(layer.is_initialized for layer in layers):
        return None
    return [(layer.keys[0], layer.values[0]) for layer in layers]
