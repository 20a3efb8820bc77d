"""Greedy generation with a causal model.

What all prompts begin with (a soft prompt, a system message, the shots) is computed once. The rest
of the prompts is computed in small groups of one length, because padding costs as much as text;
then the groups are merged, because making one token at a time reads all weights, and should serve
as many rows as fit. Rows that have ended leave the batch.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad as pad_tensor

from luthier.data.batches import micro_batches
from luthier.inference.cache import merge_caches, roomy_cache
from luthier.inference.engine import Advance
from luthier.inference.generator import Generator
from luthier.inference.padding import MAX_PADDING, pad
from luthier.inference.prefix import shared_prefix
from luthier.models.forward import logits_at

# Tokens of prompts computed together: enough to keep the arithmetic units busy.
_PREFILL_TOKENS = 2048
# Dropping ended rows copies the cache, so it waits until that share of the rows has ended.
_COMPACT_FRACTION = 0.25


@dataclass(slots=True)
class _Rows:
    """Rows that are being continued.

    Attributes:
        cache: keys and values of all tokens so far.
        mask_BT: which of them are real.
        position_B: the position of the next token.
        next_B: the next token.
        index_B: which request each row is.
    """

    cache: Any
    mask_BT: Tensor
    position_B: Tensor
    next_B: Tensor
    index_B: Tensor

    def select(self, kept: Tensor) -> None:
        """Keep some rows."""
        self.cache.batch_select_indices(kept)
        self.mask_BT, self.position_B = self.mask_BT[kept], self.position_B[kept]
        self.next_B, self.index_B = self.next_B[kept], self.index_B[kept]


class DecoderOnlyGenerator(Generator):
    """Generates token ids; see `LocalEngine`."""

    def generate(
        self, prompts: Sequence[Sequence[int]], max_new_tokens: int, advance: Advance
    ) -> list[list[int]]:
        """See `Generator.generate`."""
        prefix = shared_prefix(prompts)
        shared = self._prefill_shared(prefix)
        suffixes = [list(ids[len(prefix) :]) for ids in prompts]
        results: list[list[int]] = [[] for _ in prompts]
        for batch in micro_batches(
            [len(ids) for ids in suffixes],
            tokens=self._batch_tokens,
            max_padding=1.0,
            extra=shared.get_seq_length() + max_new_tokens,
        ):
            rows = self._prefill(shared, suffixes, batch)
            self._decode(rows, max_new_tokens, results)
            advance(len(batch))
        return results

    def _prefill_shared(self, prefix: Sequence[int]) -> Any:
        """The cache of what all prompts begin with, for one row; empty if that is nothing."""
        cache = roomy_cache()
        self._soft_prompt.fill(self._model, cache)
        if prefix:
            input_1T = torch.tensor([prefix], device=self._device)
            keep_1T = torch.zeros_like(input_1T, dtype=torch.bool)
            inputs = {"input_ids": input_1T, "past_key_values": cache, "use_cache": True}
            logits_at(self._model, inputs, keep_1T)
        return cache

    def _prefill(self, shared: Any, suffixes: list[list[int]], batch: list[int]) -> _Rows:
        """Compute the prompts of a batch and the first token of each answer."""
        groups = [
            self._prefill_group(shared, suffixes, [batch[i] for i in cut])
            for cut in micro_batches(
                [len(suffixes[index]) for index in batch],
                tokens=_PREFILL_TOKENS,
                max_padding=MAX_PADDING,
            )
        ]
        width = max(group.mask_BT.shape[1] for group in groups)
        masks = [
            pad_tensor(group.mask_BT, (width - group.mask_BT.shape[1], 0), value=False)
            for group in groups
        ]
        return _Rows(
            cache=merge_caches([group.cache for group in groups]),
            mask_BT=torch.cat(masks),
            position_B=torch.cat([group.position_B for group in groups]),
            next_B=torch.cat([group.next_B for group in groups]),
            index_B=torch.cat([group.index_B for group in groups]),
        )

    def _prefill_group(self, shared: Any, suffixes: list[list[int]], group: list[int]) -> _Rows:
        cache = copy.deepcopy(shared)
        start = cache.get_seq_length()
        cache.batch_repeat_interleave(len(group))
        input_BT, real_BT = pad([suffixes[i] for i in group], self._device, "left")
        mask_BT = pad_tensor(real_BT, (start, 0), value=True)
        position_BT = (mask_BT.long().cumsum(1) - 1).clamp(min=0)[:, start:]
        next_B = self._next(cache, input_BT, mask_BT, position_BT)
        index_B = torch.tensor(group, device=self._device)
        return _Rows(cache, mask_BT, position_BT[:, -1] + 1, next_B, index_B)

    def _decode(self, rows: _Rows, max_new_tokens: int, results: list[list[int]]) -> None:
        """Continue the rows until each has ended, and put their tokens into ``results``."""
        running_B = torch.ones_like(rows.next_B, dtype=torch.bool)
        for made in range(1, max_new_tokens + 1):
            triples = (rows.index_B.tolist(), rows.next_B.tolist(), running_B.tolist())
            for index, token, runs in zip(*triples, strict=True):
                if runs:
                    results[index].append(token)
            running_B &= ~torch.isin(rows.next_B, self._stops)
            if made == max_new_tokens or not running_B.any():
                return
            if (~running_B).float().mean() >= _COMPACT_FRACTION:
                kept = running_B.nonzero()[:, 0]
                rows.select(kept)
                running_B = running_B[kept]
            rows.mask_BT = pad_tensor(rows.mask_BT, (0, 1), value=True)
            rows.next_B = self._next(
                rows.cache, rows.next_B[:, None], rows.mask_BT, rows.position_B[:, None]
            )
            rows.position_B = rows.position_B + 1

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
