"""A soft prompt at inference is a prefix that every request shares.

It is given as vectors before the input, or as keys and values that such vectors would have left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from luthier.models.forward import logits_at_indices


@dataclass(frozen=True, slots=True)
class SoftPrompt:
    """What stands before every request; nothing, by default.

    Attributes:
        vectors_VD: put before the embedded input.
        layers: the keys and values of each layer, ``[1, heads, virtual tokens, head width]``.
    """

    vectors_VD: Tensor | None = None
    layers: tuple[tuple[Tensor, Tensor], ...] = ()

    @property
    def length(self) -> int:
        """How many tokens it stands for."""
        if self.vectors_VD is not None:
            return len(self.vectors_VD)
        return self.layers[0][0].shape[2] if self.layers else 0

    def fill(self, model: Any, cache: Any) -> None:
        """Put the keys and values that it leaves into the empty cache of one row."""
        self.fill_layers(cache)
        if self.vectors_VD is not None:
            nowhere = torch.empty(0, dtype=torch.long, device=self.vectors_VD.device)
            embeds_1VD = self.vectors_VD[None]
            inputs = {"inputs_embeds": embeds_1VD, "past_key_values": cache, "use_cache": True}
            logits_at_indices(model, inputs, nowhere, nowhere)

    def fill_layers(self, cache: Any) -> None:
        """Put the keys and values that are given as such into the empty cache of one row."""
        for index, (keys, values) in enumerate(self.layers):
            cache.update(keys, values, index)


class Conditioned(NamedTuple):
    """A model and what stands before every request.

    Attributes:
        whole: the model as it was loaded, which puts it before every pass by itself.
        bare: the model without it.
        soft_prompt: what stands before every request.
    """

    whole: Any
    bare: Any
    soft_prompt: SoftPrompt


def conditioned(model: Any) -> Conditioned:
    """Take a soft prompt apart from a model; see `unwrap_soft_prompt`."""
    return Conditioned(model, *unwrap_soft_prompt(model))


def unwrap_soft_prompt(model: Any) -> tuple[Any, SoftPrompt]:
    """Split a model into the one to call and what stands before every request.

    peft puts the virtual tokens before the input at *every* forward pass, which is right for a
    whole sequence but not when a key/value cache already holds them.
    """
    import peft

    config = getattr(model, "active_peft_config", None)
    if config is None or not config.is_prompt_learning:
        return model, SoftPrompt()
    prompt = model.get_prompt(batch_size=1)
    base = model.get_base_model()
    if config.peft_type == peft.PeftType.PREFIX_TUNING:
        # Of an encoder-decoder it is the decoder's; there may be one layer more than that has.
        own = prompt.self_attention_cache if base.config.is_encoder_decoder else prompt
        layers = tuple((layer.keys.detach(), layer.values.detach()) for layer in own.layers)
        return base, SoftPrompt(layers=layers)
    # Adapters made elsewhere may carry a second, unused set of vectors for the decoder.
    vectors_VD = prompt[0, : config.num_virtual_tokens].detach()
    return base, SoftPrompt(vectors_VD.to(base.get_input_embeddings().weight.dtype))
