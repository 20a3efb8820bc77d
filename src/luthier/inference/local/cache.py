"""A preallocated KV cache.

transformers' own cache is copied as a whole for every new token, which takes as long as a small
model's arithmetic. This cache is written in place while there is room, and grows by a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

_BLOCK = 64


class PreallocatedLayer(DynamicLayer):  # type: ignore[misc] # transformers is not typed
    """A layer whose keys and values are views into larger buffers."""

    keys: Tensor
    values: Tensor

    def __init__(self) -> None:
        super().__init__()
        self._buffers: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Store the states of the new tokens and return the states of all tokens so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        used = self.get_seq_length()
        needed = used + key_states.shape[-2]
        if self._buffers is None or self._buffers[0].shape[-2] < needed:
            self._buffers = (
                self._enlarged(self.keys, key_states, needed + _BLOCK),
                self._enlarged(self.values, value_states, needed + _BLOCK),
            )
        keys, values = self._buffers
        keys[..., used:needed, :] = key_states
        values[..., used:needed, :] = value_states
        self.keys, self.values = keys[..., :needed, :], values[..., :needed, :]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some rows, with their room to grow."""
        if self._buffers is None:
            super().batch_select_indices(indices)
            return
        used = self.get_seq_length()
        keys, values = self._buffers = (
            self._buffers[0].index_select(0, indices),
            self._buffers[1].index_select(0, indices),
        )
        self.keys, self.values = keys[..., :used, :], values[..., :used, :]

    def repeated(self, rows: int) -> PreallocatedLayer:
        """A layer that repeats the single row of this one, as a view without a copy."""
        repeated = PreallocatedLayer()
        if self.is_initialized:
            repeated.lazy_initialization(self.keys, self.values)
            repeated.keys = self.keys.expand(rows, -1, -1, -1)
            repeated.values = self.values.expand(rows, -1, -1, -1)
        return repeated

    @classmethod
    def merged(cls, parts: Sequence[tuple[PreallocatedLayer, slice, int]]) -> PreallocatedLayer:
        """Rows of several layers, each up to its length, in one layer; see `merge_caches`."""
        length = max(length for *_, length in parts)
        first = parts[0][0]
        merged = cls()
        if not first.is_initialized:  # a layer only for images, of which there are none
            return merged
        merged.lazy_initialization(first.keys, first.values)
        merged._buffers = (
            cls._stacked([layer.keys[rows, :, :end] for layer, rows, end in parts], length),
            cls._stacked([layer.values[rows, :, :end] for layer, rows, end in parts], length),
        )
        merged.keys, merged.values = (buffer[..., :length, :] for buffer in merged._buffers)
        return merged

    @staticmethod
    def _stacked(parts: Sequence[Tensor], length: int) -> Tensor:
        first = parts[0]
        rows = sum(part.shape[0] for part in parts)
        stacked = first.new_zeros(rows, first.shape[1], length + _BLOCK, first.shape[-1])
        row = 0
        for part in parts:
            stacked[row : row + part.shape[0], :, length - part.shape[2] : length] = part
            row += part.shape[0]
        return stacked

    @staticmethod
    def _enlarged(old: Tensor, new: Tensor, length: int) -> Tensor:
        buffer = torch.empty(
            *new.shape[:-2], length, new.shape[-1], dtype=new.dtype, device=new.device
        )
        if old.numel():
            buffer[..., : old.shape[-2], :] = old
        return buffer


class Part(NamedTuple):
    """Rows of a cache with ``length`` tokens each; later places are padding."""

    cache: Any
    rows: slice
    length: int


def merge_caches(parts: Sequence[Part]) -> Any:
    """Rows of several caches in one cache, padded with zeros on the left.

    So there is no gap between the tokens of a row and its next token.
    """
    merged = preallocated_cache()
    merged.layers = [
        PreallocatedLayer.merged(
            [(part.cache.layers[index], part.rows, part.length) for part in parts],
        )
        for index in range(len(parts[0].cache.layers))
    ]
    return merged


def repeat_cache(cache: Any, rows: int) -> Any:
    """A view of a cache's single row, repeated; use it before the original changes."""
    repeated = preallocated_cache()
    repeated.layers = [layer.repeated(rows) for layer in cache.layers]
    return repeated


def preallocated_cache() -> Any:
    """An empty preallocated KV cache for any decoder."""
    return Cache(layer_class_to_replicate=PreallocatedLayer)
