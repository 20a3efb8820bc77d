"""Greedy generation with a causal model.

What all prompts begin with (a soft prompt, a system message, the shots) is computed once and its
key/value cache is copied to every batch. Rows that have ended leave the batch.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from luthier.data.batches import micro_batches
from luthier.inference.cache import roomy_cache
from luthier.inference.engine import Advance
from luthier.inference.padding import MAX_PADDING, pad
from luthier.inference.prefix import shared_prefix
from luthier.inference.soft_prompt import unwrap_soft_prompt
from luthier.models.forward import logits_at
from luthier.models.load import LoadedModel

# Dropping ended rows copies the cache, so it waits until that many of the rows have ended.
_COMPACT_FRACTION = 0.25


class DecoderOnlyGenerator:
    """Generates token ids; see `LocalEngine`."""

    def __init__(self, loaded: LoadedModel, batch_tokens: int, stop_ids: frozenset[int]) -> None:
        self._device = loaded.device
        self._model, self._soft_prompt_VD = unwrap_soft_prompt(loaded.model)
        self._batch_tokens = batch_tokens
        self.stop_ids = stop_ids
        self._stops = torch.tensor(sorted(stop_ids), device=loaded.device)

    def generate(
        self, prompts: Sequence[Sequence[int]], max_new_tokens: int, advance: Advance
    ) -> list[list[int]]:
        """The new tokens of each prompt, the stop token included where one was made."""
        prefix = shared_prefix(prompts)
        cache = self._prefill_shared(prefix)
        suffixes = [list(ids[len(prefix) :]) for ids in prompts]
        results: list[list[int]] = [[] for _ in prompts]
        for batch in micro_batches(
            [len(ids) for ids in suffixes],
            tokens=self._batch_tokens,
            max_padding=MAX_PADDING,
            extra=cache.get_seq_length() + max_new_tokens,
        ):
            rows = [suffixes[i] for i in batch]
            for index, ids in zip(batch, self._batch(cache, rows, max_new_tokens), strict=True):
                results[index] = ids
            advance(len(batch))
        return results

    def _prefill_shared(self, prefix: Sequence[int]) -> Any:
        """The cache of what all prompts begin with, for one row; empty if that is nothing."""
        cache = roomy_cache()
        embed = self._model.get_input_embeddings()
        parts = (
            [] if self._soft_prompt_VD is None else [self._soft_prompt_VD.to(embed.weight.dtype)]
        )
        if prefix:
            parts.append(embed(torch.tensor(prefix, device=self._device)))
        if parts:
            embeds_1TD = torch.cat(parts)[None]
            keep = torch.zeros(1, embeds_1TD.shape[1], dtype=torch.bool, device=self._device)
            keep[0, -1] = True
            inputs = {"inputs_embeds": embeds_1TD, "past_key_values": cache, "use_cache": True}
            logits_at(self._model, inputs, keep)
        return cache

    def _batch(self, shared: Any, rows: list[list[int]], max_new_tokens: int) -> list[list[int]]:
        cache = copy.deepcopy(shared)
        start = cache.get_seq_length()
        cache.batch_repeat_interleave(len(rows))
        input_BT, real_BT = pad(rows, self._device, "left")
        mask_BT = torch.nn.functional.pad(real_BT, (start, 0), value=True)
        position_BT = (mask_BT.long().cumsum(1) - 1).clamp(min=0)[:, start:]
        made: list[list[int]] = [[] for _ in rows]
        alive = torch.arange(len(rows), device=self._device)
        running = torch.ones(len(rows), dtype=torch.bool, device=self._device)
        for _ in range(max_new_tokens):
            next_B = self._next(cache, input_BT, mask_BT, position_BT)
            for row, token, runs in zip(
                alive.tolist(), next_B.tolist(), running.tolist(), strict=True
            ):
                if runs:
                    made[row].append(token)
            running &= ~torch.isin(next_B, self._stops)
            if not running.any():
                break
            mask_BT = torch.nn.functional.pad(mask_BT, (0, 1), value=True)
            position_BT = position_BT[:, -1:] + 1
            input_BT = next_B[:, None]
            if (~running).float().mean() >= _COMPACT_FRACTION:
                kept = running.nonzero()[:, 0]
                cache.batch_select_indices(kept)
                alive, mask_BT, position_BT = alive[kept], mask_BT[kept], position_BT[kept]
                input_BT, running = input_BT[kept], running[kept]
        return made

    def _next(self, cache: Any, input_BT: Tensor, mask_BT: Tensor, position_BT: Tensor) -> Tensor:
        keep_BT = torch.zeros_like(input_BT, dtype=torch.bool)
        keep_BT[:, -1] = True
        inputs = {
            "input_ids": input_BT,
            "attention_mask": mask_BT.long(),
            "position_ids": position_BT,
            "past_key_values": cache,
            "use_cache": True,
        }
        return logits_at(self._model, inputs, keep_BT).argmax(-1)
