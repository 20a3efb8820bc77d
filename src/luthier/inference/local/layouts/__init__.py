"""Layouts of texts in forward passes, and the prefix sharing that they allow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from luthier.inference.local.layouts.base import ForwardBatch, Layout
from luthier.inference.local.layouts.packed import Packed
from luthier.inference.local.layouts.packed_attention import may_pack
from luthier.inference.local.layouts.rows import Joined, Whole, WholeOfOneLength
from luthier.models.cache_support import keeps_all_states

__all__ = [
    "ForwardBatch",
    "Joined",
    "Layout",
    "Packed",
    "Whole",
    "WholeOfOneLength",
    "ways_to_share",
]


def ways_to_share(model: Any) -> Iterator[Layout]:
    """The layouts that may suit a causal model, the fastest first; `Trial` tests each.

    All of them are valid only for texts up to `settled_length`.

    Args:
        model: a transformers or peft model.
    """
    if keeps_all_states(model):
        if may_pack(model):
            yield Packed()
        yield Joined()
