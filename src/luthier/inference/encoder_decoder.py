"""Greedy generation with an encoder-decoder model (T5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from luthier.data.batches import micro_batches
from luthier.inference.cache import roomy_cache
from luthier.inference.encoder import encode
from luthier.inference.engine import Advance
from luthier.inference.generator import Generator
from luthier.inference.padding import MAX_PADDING
from luthier.models.forward import decoder_start, logits_at


class EncoderDecoderGenerator(Generator):
    """Generates token ids; see `LocalEngine`. A soft prompt stands before the encoder's input."""

    def generate(
        self, prompts: Sequence[Sequence[int]], max_new_tokens: int, advance: Advance
    ) -> list[list[int]]:
        """See `Generator.generate`."""
        results: list[list[int]] = [[] for _ in prompts]
        for batch in micro_batches(
            [len(ids) for ids in prompts],
            tokens=self._batch_tokens,
            max_padding=MAX_PADDING,
            extra=max_new_tokens,
        ):
            rows = self._batch([prompts[i] for i in batch], max_new_tokens)
            for index, ids in zip(batch, rows, strict=True):
                results[index] = ids
            advance(len(batch))
        return results

    def _batch(self, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[list[int]]:
        from transformers import EncoderDecoderCache

        encoded, mask_BT = encode(self._model, self._soft_prompt, prompts)
        cache = EncoderDecoderCache(roomy_cache(), roomy_cache())
        start = decoder_start(self._model)
        input_B1 = torch.full((len(prompts), 1), start, device=self._device)
        keep_B1 = torch.ones_like(input_B1, dtype=torch.bool)
        running = torch.ones(len(prompts), dtype=torch.bool, device=self._device)
        made: list[list[int]] = [[] for _ in prompts]
        for _ in range(max_new_tokens):
            inputs = {
                "encoder_outputs": encoded,
                "attention_mask": mask_BT,
                "decoder_input_ids": input_B1,
                "past_key_values": cache,
                "use_cache": True,
            }
            next_B = logits_at(self._model, inputs, keep_B1).argmax(-1)
            for row, (token, runs) in enumerate(
                zip(next_B.tolist(), running.tolist(), strict=True)
            ):
                if runs:
                    made[row].append(token)
            running &= ~torch.isin(next_B, self._stops)
            if not running.any():
                break
            input_B1 = next_B[:, None]
        return made
