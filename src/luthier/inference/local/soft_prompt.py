"""Soft prompts at inference: a prefix that all requests share.

A soft prompt is given as vectors before the embedded input, or directly as keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from luthier.models.forward import logits_at_indices


@dataclass(frozen=True, slots=True)
class SoftPrompt:
    """The soft prompt before every request; empty by default.

    Attributes:
        vectors_VD: vectors that are put before the embedded input.
        layers: the keys and values of each layer, ``[1, heads, virtual tokens, head width]``.
    """

    vectors_VD: Tensor | None = None
    layers: tuple[tuple[Tensor, Tensor], ...] = ()

    @property
    def length(self) -> int:
        """The number of virtual tokens."""
        if self.vectors_VD is not None:
            return len(self.vectors_VD)
        return self.layers[0][0].shape[2] if self.layers else 0

    def fill(self, model: Any, cache: Any) -> None:
        """Write the soft prompt's keys and values into an empty KV cache of one row."""
        self.fill_layers(cache)
        if self.vectors_VD is not None:
            nowhere = torch.empty(0, dtype=torch.long, device=self.vectors_VD.device)
            embeds_1VD = self.vectors_VD[None]
            inputs = {"inputs_embeds": embeds_1VD, "past_key_values": cache, "use_cache": True}
            logits_at_indices(model, inputs, nowhere, nowhere)

    def fill_layers(self, cache: Any) -> None:
        """Write only `layers`, the given keys and values, into an empty KV cache of one row."""
        for index, (keys, values) in enumerate(self.layers):
            cache.update(keys, values, index)


class Conditioned(NamedTuple):
    """A model and its soft prompt.

    Attributes:
        whole: the model as it was loaded, which adds the soft prompt in every forward pass.
        bare: the model without its soft prompt.
        soft_prompt: the soft prompt before every request.
    """

    whole: Any
    bare: Any
    soft_prompt: SoftPrompt


def conditioned(model: Any) -> Conditioned:
    """A loaded model together with its bare model and its soft prompt."""
    return Conditioned(model, *unwrap_soft_prompt(model))


def unwrap_soft_prompt(model: Any) -> tuple[Any, SoftPrompt]:
    """Split a model into its bare model and its soft prompt.

    peft adds the virtual tokens in *every* forward pass, which is right for a whole sequence but
    wrong if the KV cache already holds them.
    """
    import peft

    config = getattr(model, "active_peft_config", None)
    if config is None or not config.is_prompt_learning:
        return model, SoftPrompt()
    prompt = model.get_prompt(batch_size=1)
    base = model.get_base_model()
    if config.peft_type == peft.PeftType.PREFIX_TUNING:
        # An encoder-decoder's prefix is the decoder's; it may have one layer more than the decoder.
        own = prompt.self_attention_cache if base.config.is_encoder_decoder else prompt
        layers = tuple((layer.keys.detach(), layer.values.detach()) for layer in own.layers)
        return base, SoftPrompt(layers=layers)
    # Adapters made elsewhere may carry a second, unused set of vectors for the decoder.
    vectors_VD = prompt[0, : config.num_virtual_tokens].detach()
    return base, SoftPrompt(vectors_VD.to(base.get_input_embeddings().weight.dtype))
