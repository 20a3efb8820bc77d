"""Generation with an encoder-decoder model (T5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from luthier.data.batches import micro_batches
from luthier.inference.cache import repeat_cache, roomy_cache
from luthier.inference.decoding import Rows
from luthier.inference.encoder import encode
from luthier.inference.generator import Generator
from luthier.inference.padding import MAX_PADDING
from luthier.inference.soft_prompt import SoftPrompt
from luthier.models.forward import decoder_start, logits_at


class DecoderRows(Rows):
    """Rows that a decoder continues, each with what the encoder made of its prompt."""

    def __init__(
        self,
        model: Any,
        soft_prompt: SoftPrompt,
        encoded_BTD: Tensor,
        mask_BT: Tensor,
        prompts: Sequence[int],
    ) -> None:
        from transformers import EncoderDecoderCache

        self._model = model
        self._encoded_BTD, self._mask_BT = encoded_BTD, mask_BT
        prefix = roomy_cache()
        soft_prompt.fill_layers(prefix)
        self._cache = EncoderDecoderCache(repeat_cache(prefix, len(prompts)), roomy_cache())
        super().__init__(self.step([decoder_start(model)] * len(prompts)), prompts)

    def _select(self, rows: Sequence[int]) -> None:
        rows_B = torch.tensor(rows, device=self._mask_BT.device)
        self._encoded_BTD, self._mask_BT = self._encoded_BTD[rows_B], self._mask_BT[rows_B]
        for cache in (self._cache.self_attention_cache, self._cache.cross_attention_cache):
            cache.batch_select_indices(rows_B)

    def step(self, tokens: Sequence[int]) -> Tensor:
        """See `Rows.step`."""
        from transformers.modeling_outputs import BaseModelOutput

        input_B1 = torch.tensor(tokens, device=self._mask_BT.device)[:, None]
        inputs = {
            "encoder_outputs": BaseModelOutput(last_hidden_state=self._encoded_BTD),
            "attention_mask": self._mask_BT,
            "decoder_input_ids": input_B1,
            "past_key_values": self._cache,
            "use_cache": True,
        }
        return logits_at(self._model, inputs, torch.ones_like(input_B1, dtype=torch.bool))


class EncoderDecoderGenerator(Generator):
    """Generates token ids; see `Generator`. A soft prompt stands before the encoder's input.

    Prompts are encoded in groups of one length, because padding costs as much as text, and answered
    together.
    """

    def _start(self, prompts: Sequence[Sequence[int]], batch: Sequence[int]) -> DecoderRows:
        """See `Generator._start`."""
        lengths = [len(prompts[index]) for index in batch]
        cuts = micro_batches(lengths, tokens=self._batch_tokens, max_padding=MAX_PADDING)
        groups = [[batch[place] for place in cut] for cut in cuts]
        encoded = [
            encode(self._model, self._soft_prompt, [prompts[index] for index in group])
            for group in groups
        ]
        width = max(mask_BT.shape[1] for _, mask_BT in encoded)
        return DecoderRows(
            self._model,
            self._soft_prompt,
            torch.cat([_widened(output.last_hidden_state, width) for output, _ in encoded]),
            torch.cat([_widened(mask_BT[..., None], width)[..., 0] for _, mask_BT in encoded]),
            [index for group in groups for index in group],
        )


def _widened(states_BTD: Tensor, width: int) -> Tensor:
    """Padded with zeros on the right, to so many positions."""
    return torch.nn.functional.pad(states_BTD, (0, 0, 0, width - states_BTD.shape[1]))
