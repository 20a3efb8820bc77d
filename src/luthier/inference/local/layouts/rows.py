"""Layouts with one text per row, padded to the longest; they suit any model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from luthier.inference.local.branching_cache import begin, branch, tokens_copied
from luthier.inference.local.budget import BatchLimits, rectangles
from luthier.inference.local.layouts.base import ForwardBatch, Layout
from luthier.inference.local.padding import MAX_PADDING, pad
from luthier.inference.local.radix_tree import Tokens


class Whole(Layout):
    """Whole texts, without shared prefixes."""

    def worth_a_node(self, pass_cost: float) -> float:
        """Infinity: no prefix becomes a node."""
        del pass_cost
        return float("inf")

    def begin(self) -> Any:
        """None: this layout has no cache."""

    def cut(
        self, lengths: Sequence[int], room: BatchLimits, cache: Any, *, go_on: bool
    ) -> list[list[int]]:
        """See `Layout.cut`."""
        del cache, go_on
        return rectangles(lengths, room, MAX_PADDING)

    def lay(
        self, texts: Sequence[Tokens], before: Sequence[int], cache: Any, device: torch.device
    ) -> ForwardBatch:
        """See `Layout.lay`."""
        del before, cache
        ids_BT, _ = pad(texts, device, "right")
        firsts = [(row, 0) for row in range(len(texts))]
        return ForwardBatch(
            {"input_ids": ids_BT, "use_cache": False}, firsts, ids_BT.shape[1], None
        )


class WholeOfOneLength(Whole):
    """Whole texts, without shared prefixes; only texts of equal length share a pass."""

    def cut(
        self, lengths: Sequence[int], room: BatchLimits, cache: Any, *, go_on: bool
    ) -> list[list[int]]:
        """See `Layout.cut`."""
        del cache, go_on
        return rectangles(lengths, room, 0.0)


class Joined(Layout):
    """Shared prefixes; each layer concatenates the keys of earlier passes with the new ones."""

    def worth_a_node(self, pass_cost: float) -> float:
        """The cost of a pass: inner nodes share a pass only if their lengths are equal."""
        return pass_cost

    def begin(self) -> Any:
        """See `Layout.begin`."""
        return begin()

    def cut(
        self, lengths: Sequence[int], room: BatchLimits, cache: Any, *, go_on: bool
    ) -> list[list[int]]:
        """See `Layout.cut`. Inner nodes get no padding, whose keys their children would see."""
        padding = 0.0 if go_on else MAX_PADDING
        return rectangles(lengths, room, padding, extra=tokens_copied(cache))

    def lay(
        self, texts: Sequence[Tokens], before: Sequence[int], cache: Any, device: torch.device
    ) -> ForwardBatch:
        """See `Layout.lay`."""
        ids_BT, _ = pad(texts, device, "right")
        made = branch(cache, torch.tensor(before, device=device))
        inputs = {"input_ids": ids_BT, "past_key_values": made, "use_cache": True}
        return ForwardBatch(inputs, [(row, 0) for row in range(len(texts))], ids_BT.shape[1], made)
