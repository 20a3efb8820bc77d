"""A key/value cache with room to grow.

transformers' own cache is copied whole for every new token, which costs as much as a small model's
arithmetic. This one is written in place while there is room, and grows by a block.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

_BLOCK = 64


class RoomyLayer(DynamicLayer):  # type: ignore[misc] # transformers is not typed
    """A layer whose keys and values are views into larger buffers."""

    def __init__(self) -> None:
        super().__init__()
        self._buffers: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add the states of new tokens; the states of all tokens so far."""
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

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row."""
        super().batch_repeat_interleave(repeats)
        self._buffers = None

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some rows."""
        super().batch_select_indices(indices)
        self._buffers = None

    @staticmethod
    def _enlarged(old: Tensor, new: Tensor, length: int) -> Tensor:
        buffer = torch.empty(
            *new.shape[:-2], length, new.shape[-1], dtype=new.dtype, device=new.device
        )
        if old.numel():
            buffer[..., : old.shape[-2], :] = old
        return buffer


def roomy_cache() -> Any:
    """An empty cache for any decoder."""
    return Cache(layer_class_to_replicate=RoomyLayer)
