"""Which models give the same for a text at once and in parts."""

from __future__ import annotations

from typing import Any

# Rotary frequencies that follow the longest row of a batch.
_ROPE_OF_THE_BATCH = ("dynamic", "longrope")


def rope_follows_the_batch(config: Any) -> bool:
    """Whether a row's rotary frequencies depend on the rows beside it, or on what comes later."""
    rope = repr(getattr(config, "rope_parameters", None))
    return any(repr(kind) in rope for kind in _ROPE_OF_THE_BATCH)


def keeps_all_states(model: Any) -> bool:
    """Whether keys and values of all earlier tokens are everything that later tokens read.

    Recurrent and hybrid models (Mamba) carry a state instead, and some layers share another's. A
    sliding window is no hindrance: it is a mask over keys and values that may as well all be kept.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    if getattr(model, "_is_stateful", False):
        return False
    kinds = {type(layer) for layer in DynamicCache(config=model.config).layers}
    return kinds <= {DynamicLayer, DynamicSlidingWindowLayer}
