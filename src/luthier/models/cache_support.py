"""Properties of models that affect caching of prefixes and batching of rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Rotary frequencies that depend on the longest row of a batch.
_ROPE_OF_THE_BATCH = ("dynamic", "longrope")
_INITIAL = "original_inv_freq"


def rope_follows_the_batch(config: Any) -> bool:
    """Whether a row's rotary frequencies depend on other rows or on later tokens."""
    rope = repr(getattr(config.get_text_config(decoder=True), "rope_parameters", None))
    return any(repr(kind) in rope for kind in _ROPE_OF_THE_BATCH)


def settled_length(config: Any) -> float:
    """The number of tokens up to which a model's rotary frequencies are constant.

    Dynamic and long RoPE have fixed frequencies for texts within the pre-training window, and
    others for longer texts.
    """
    text = config.get_text_config(decoder=True)
    if not rope_follows_the_batch(text):
        return math.inf
    rope = text.rope_parameters
    parts = [rope, *(part for part in rope.values() if isinstance(part, dict))]
    stated = [part.get("original_max_position_embeddings") for part in parts]
    stated.append(getattr(text, "max_position_embeddings", None))
    # transformers keeps the frequencies of a longer text for a text of exactly that length.
    return min((float(length) for length in stated if length), default=1.0) - 1


@contextmanager
def rope_of_each_pass(model: Any) -> Iterator[None]:
    """Make dynamic RoPE depend on the current pass only, not on earlier ones.

    transformers keeps the frequencies of the longest text so far until a short one comes.
    """
    rotary = [
        module
        for module in model.modules()
        if any(name.endswith(_INITIAL) for name in vars(module) | module._buffers)
        and hasattr(module, "original_max_seq_len")
    ]
    hooks = [module.register_forward_pre_hook(_forget_longer_texts) for module in rotary]
    try:
        yield
    finally:
        for module, hook in zip(rotary, hooks, strict=True):
            hook.remove()
            _forget_longer_texts(module)


def _forget_longer_texts(module: Any, *_arguments: Any) -> None:
    for name in [*vars(module), *module._buffers]:
        if not name.endswith(_INITIAL):
            continue
        prefix = name.removesuffix(_INITIAL)
        longest = f"{prefix}max_seq_len_cached"
        if getattr(module, longest, 0) > module.original_max_seq_len:
            current = getattr(module, f"{prefix}inv_freq")
            module.register_buffer(
                f"{prefix}inv_freq", getattr(module, name).to(current.device), persistent=False
            )
            setattr(module, longest, module.original_max_seq_len)


def keeps_all_states(model: Any) -> bool:
    """Whether later tokens depend on earlier ones only through their cached keys and values.

    Recurrent and hybrid models (Mamba) carry a state instead, and some layers share another's
    cache. A sliding window is fine, since it is a mask over keys and values that can all be kept.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    if getattr(model, "_is_stateful", False):
        return False
    try:
        kinds = {type(layer) for layer in DynamicCache(config=model.config).layers}
    except (KeyError, AttributeError, TypeError, ValueError):  # unsupported kinds of layers
        return False
    return kinds <= {DynamicLayer, DynamicSlidingWindowLayer}


def counts_places(config: Any) -> bool:
    """Whether a token's place in its row matters besides its position, so padding changes it.

    Chunks of chunked attention start at fixed places, and so do the steps of a temperature that
    grows with the place (Llama 4).
    """
    text = config.get_text_config(decoder=True)
    kinds = getattr(text, "layer_types", None) or ()
    return "chunked_attention" in kinds or bool(getattr(text, "attn_temperature_tuning", False))
