"""A key/value cache that branches: what several rows begin with is kept once.

The cache of a pass holds the keys and values of its own tokens alone, and knows whose they
continue. Each layer puts the two together when it is its turn, so a shared prefix is never copied
for all rows and all layers at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer


class BranchLayer(DynamicLayer):  # type: ignore[misc] # transformers is not typed
    """The keys and values of one pass in one layer.

    Args:
        continued: the layer of the pass that this one continues, and which of its rows each row
            does, ``[B]``; None: it begins.
    """

    keys: Tensor
    values: Tensor

    def __init__(self, continued: tuple[BranchLayer, Tensor] | None = None) -> None:
        super().__init__()
        self._continued = continued
        self._length_before = continued[0].get_seq_length() if continued else 0

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Keep the states of the new tokens; the states of all tokens so far."""
        self.lazy_initialization(key_states, value_states)
        self.keys, self.values = key_states, value_states
        if self._continued is None:
            return key_states, value_states
        parts = [(key_states, value_states)]
        for layer, rows_B in self._earlier():
            parts.append((_pick(layer.keys, rows_B), _pick(layer.values, rows_B)))
        keys, values = zip(*reversed(parts), strict=True)
        return torch.cat(keys, dim=-2), torch.cat(values, dim=-2)

    def _earlier(self) -> Iterator[tuple[BranchLayer, Tensor]]:
        """The layers of the passes before, the last one first, and the row of each that it is."""
        link, rows = self._continued, None
        while link is not None:
            layer, rows = link[0], link[1] if rows is None else link[1][rows]
            yield layer, rows
            link = layer._continued

    def get_seq_length(self) -> int:
        """Tokens so far, those of earlier passes included."""
        return self._length_before + int(super().get_seq_length())

    def tokens_held(self) -> int:
        """Rows × tokens of this pass and of those it continues."""
        own = len(self.keys) * self.keys.shape[-2] if self.is_initialized else 0
        return own + (self._continued[0].tokens_held() if self._continued else 0)


def begin() -> Any:
    """The cache of a pass that continues nothing."""
    return Cache(layer_class_to_replicate=BranchLayer)


def branch(cache: Any, rows_B: Tensor) -> Any:
    """The cache of a pass that continues another.

    Args:
        cache: that of the pass which it continues.
        rows_B: which of its rows each new row continues.
    """
    made = begin()
    made.layers = [BranchLayer((layer, rows_B)) for layer in cache.layers]
    return made


def select(cache: Any, rows_B: Tensor) -> Any:
    """A cache that holds some rows of another's last pass, and continues nothing."""
    made = begin()
    for index, layer in enumerate(cache.layers):
        made.update(_pick(layer.keys, rows_B), _pick(layer.values, rows_B), index)
    return made


def tokens_held(cache: Any) -> int:
    """Tokens whose keys and values a cache keeps in memory, those of earlier passes included."""
    return cache.layers[0].tokens_held() if cache and cache.layers else 0


def tokens_copied(cache: Any) -> int:
    """What a row that continues a cache copies of it, as so many tokens in all layers.

    The layers put old and new together one after the other.
    """
    return -(-cache.get_seq_length() // len(cache.layers)) if cache and cache.layers else 0


def _pick(states: Tensor, rows_B: Tensor) -> Tensor:
    """Some rows; the only one is not copied."""
    if len(states) == 1:
        return states.expand(len(rows_B), -1, -1, -1)
    return states[rows_B]
