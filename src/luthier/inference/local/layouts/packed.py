"""Packed layout: all texts of a pass in one row, without padding and in few passes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import chain
from typing import Any

import torch

from luthier.inference.local.budget import BatchLimits
from luthier.inference.local.layouts.base import ForwardBatch, Layout
from luthier.inference.local.layouts.packed_attention import packed_attention
from luthier.inference.local.layouts.packing import PackedCache, Packing, cut_in_order
from luthier.inference.local.radix_tree import Tokens

# One more node means a few more calls in every layer of a pass. They take as long as one to two
# tokens, measured with a model of 135 M parameters and passes of 1,000 tokens (lab/LOG.md).
_NODE_COST_IN_TOKENS = 2


class Packed(Layout):
    """Packed texts; block-diagonal attention separates them and reads earlier keys in place."""

    def attention(self, model: Any) -> AbstractContextManager[None]:
        """See `Layout.attention`."""
        return packed_attention(model)

    def worth_a_node(self, pass_cost: float) -> float:
        """The cost of a node: texts of any length share a pass, so the pass itself is cheap."""
        return min(pass_cost, _NODE_COST_IN_TOKENS)

    def begin(self) -> Any:
        """See `Layout.begin`."""
        return PackedCache()

    def cut(
        self, lengths: Sequence[int], room: BatchLimits, cache: Any, *, go_on: bool
    ) -> list[list[int]]:
        """See `Layout.cut`. Within a pass, texts that continue the same text stay neighbours."""
        del cache, go_on
        return [sorted(part) for part in cut_in_order(lengths, min(room))]

    def lay(
        self, texts: Sequence[Tokens], before: Sequence[int], cache: Any, device: torch.device
    ) -> ForwardBatch:
        """See `Layout.lay`."""
        packing = Packing(tuple(map(len, texts)), tuple(before), cache.packing)
        made = PackedCache(packing, cache)
        inputs = {
            "input_ids": torch.tensor([list(chain.from_iterable(texts))], device=device),
            "position_ids": packing.positions.to(device)[None],
            "past_key_values": made,
            "use_cache": True,
            "packed": made,
        }
        return ForwardBatch(
            inputs, [(0, part.start) for part in packing.parts], packing.total, made
        )
