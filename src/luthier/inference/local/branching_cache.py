"""A branching KV cache: the prefix of several rows is stored once.

The cache of a pass holds only the keys and values of its own tokens, and a link to the cache that
they continue. Each layer concatenates the two when it runs, so a shared prefix is never copied for
all rows and all layers at once.
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
        continued: the same layer of the previous pass, and for each row the row of that pass which
            it continues, ``[B]``; None for a first pass.
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
        """Store the states of the new tokens and return the states of all tokens so far."""
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
        """This layer of the earlier passes, the last first, with the rows that are continued."""
        link, rows = self._continued, None
        while link is not None:
            layer, rows = link[0], link[1] if rows is None else link[1][rows]
            yield layer, rows
            link = layer._continued

    def get_seq_length(self) -> int:
        """Tokens so far, those of earlier passes included."""
        return self._length_before + int(super().get_seq_length())

    def tokens_held(self) -> int:
        """Rows × tokens of this pass and of those that it continues."""
        own = len(self.keys) * self.keys.shape[-2] if self.is_initialized else 0
        return own + (self._continued[0].tokens_held() if self._continued else 0)


def begin() -> Any:
    """The empty cache of a first pass."""
    return Cache(layer_class_to_replicate=BranchLayer)


def branch(cache: Any, rows_B: Tensor) -> Any:
    """The cache of a pass that continues another.

    Args:
        cache: the cache of the previous pass.
        rows_B: for each new row, the row of the previous pass that it continues.
    """
    made = begin()
    made.layers = [BranchLayer((layer, rows_B)) for layer in cache.layers]
    return made


def select(cache: Any, rows_B: Tensor) -> Any:
    """A cache of some rows of another cache's last pass, without the earlier passes."""
    made = begin()
    for index, layer in enumerate(cache.layers):
        made.update(_pick(layer.keys, rows_B), _pick(layer.values, rows_B), index)
    return made


def tokens_held(cache: Any) -> int:
    """The number of tokens whose keys and values a cache holds, earlier passes included."""
    return cache.layers[0].tokens_held() if cache and cache.layers else 0


def tokens_copied(cache: Any) -> int:
    """The memory that one row's copies of a prefix take, as a number of tokens in all layers.

    Only one layer holds such a copy at a time.
    """
    return -(-cache.get_seq_length() // len(cache.layers)) if cache and cache.layers else 0


def _pick(states: Tensor, rows_B: Tensor) -> Tensor:
    """Some rows of keys or values; a single row is expanded without a copy."""
    if len(states) == 1:
        return states.expand(len(rows_B), -1, -1, -1)
    return states[rows_B]
