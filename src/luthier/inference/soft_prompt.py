"""A soft prompt at inference is a prefix that every request shares, given as vectors."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def unwrap_soft_prompt(model: Any) -> tuple[Any, Tensor | None]:
    """Split a model into the one to call and the vectors to put before its input.

    peft puts the virtual tokens before the input at *every* forward pass, which is right for a
    whole sequence but not when a key/value cache already holds them.

    Returns:
        The model, and ``[virtual tokens, hidden size]`` (None for a model without a soft prompt).
    """
    config = getattr(model, "active_peft_config", None)
    if config is None or not config.is_prompt_learning:
        return model, None
    prompt_1VD: Tensor = model.get_prompt(batch_size=1)
    # Adapters made elsewhere may carry a second, unused set of vectors for the decoder.
    return model.get_base_model(), prompt_1VD[0, : config.num_virtual_tokens]
