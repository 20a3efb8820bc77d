"""The places of packed texts in the row of a pass, and the KV cache of such a pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer


def cut_in_order(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Fill rows one after the other, the longest texts first, so neighbours have similar lengths.

    Args:
        lengths: tokens of each text.
        tokens: the limit of a row; a single text may exceed it.

    Returns:
        Indices into ``lengths``, one list for each row.
    """
    rows: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if not rows or room < lengths[index]:
            rows.append([])
            room = tokens
        rows[-1].append(index)
        room -= lengths[index]
    return rows


class Run(NamedTuple):
    """Neighbouring texts that continue the same earlier text.

    Attributes:
        own: the places of the neighbours' tokens.
        before: the places of the earlier text's tokens in the row of its pass.
    """

    own: slice
    before: slice


@dataclass(frozen=True, eq=False)
class Packing:
    """Texts packed one after the other in a row.

    Attributes:
        lengths: tokens of each text.
        parents: for each text, the index of the text that it continues in the previous pass.
            Texts with the same parent should be neighbours, because attention handles each run of
            such neighbours separately.
        before: the packing of the previous pass; None for a first pass.
    """

    lengths: tuple[int, ...]
    parents: tuple[int, ...] = ()
    before: Packing | None = None

    @property
    def total(self) -> int:
        """Tokens of the row."""
        return sum(self.lengths)

    @cached_property
    def parts(self) -> tuple[slice, ...]:
        """The places of each text."""
        return tuple(slice(*ends) for ends in pairwise(accumulate(self.lengths, initial=0)))

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The number of tokens before each text, over all passes."""
        if self.before is None:
            return (0,) * len(self.lengths)
        ends = [sum(pair) for pair in zip(self.before.starts, self.before.lengths, strict=True)]
        return tuple(ends[parent] for parent in self.parents)

    @cached_property
    def positions(self) -> Tensor:
        """The position of every token in its whole text, ``[N]``."""
        pairs = zip(self.starts, self.lengths, strict=True)
        return torch.cat([torch.arange(start, start + length) for start, length in pairs])

    @cached_property
    def runs(self) -> tuple[tuple[Run, ...], ...]:
        """The runs for each earlier pass, the last pass first."""
        found: list[tuple[Run, ...]] = []
        link, texts = self, list(range(len(self.lengths)))
        while link.before is not None:
            texts = [link.parents[text] for text in texts]
            link = link.before
            found.append(tuple(self._runs(texts, link.parts)))
        return tuple(found)

    def _runs(self, texts: Sequence[int], parts: Sequence[slice]) -> Iterator[Run]:
        for text, alike in groupby(range(len(texts)), key=texts.__getitem__):
            first, *rest = alike
            last = rest[-1] if rest else first
            yield Run(slice(self.parts[first].start, self.parts[last].stop), parts[text])

    @property
    def area(self) -> int:
        """The area of a padded rectangle with a row for each text."""
        return len(self.lengths) * max(self.lengths)

    @cached_property
    def _places(self) -> tuple[Tensor, Tensor, Tensor]:
        """The token index at each place of the rectangle, and each token's row and column."""
        columns_T = torch.arange(max(self.lengths))
        lengths_B1 = torch.tensor(self.lengths)[:, None]
        firsts_B1 = torch.tensor([part.start for part in self.parts])[:, None]
        real_BT = columns_T < lengths_B1
        rows_N, columns_N = real_BT.nonzero(as_tuple=True)
        return torch.where(real_BT, firsts_B1 + columns_T, 0), rows_N, columns_N

    def apart(self, states_1HND: Tensor) -> Tensor:
        """Each text in a row of its own, ``[B, H, T, D]``; padding on the right is arbitrary."""
        H = states_1HND.shape[1]
        tokens_BT, _, _ = self._places
        sources_BHT = tokens_BT[:, None] * H + torch.arange(H)[:, None]
        return _pick(states_1HND.transpose(1, 2), sources_BHT)

    def together(self, states_BHT: Tensor) -> Tensor:
        """All texts in one row again, ``[1, H, N]`` or ``[1, H, N, D]``."""
        _, H, T = states_BHT.shape[:3]
        _, rows_N, columns_N = self._places
        firsts_N1 = (rows_N * H * T + columns_N)[:, None]
        return _pick(states_BHT, firsts_N1 + torch.arange(H) * T).transpose(0, 1)[None]


def _pick(states: Tensor, sources: Tensor) -> Tensor:
    """The entries at flat indices into the first three dimensions."""
    picked = states.flatten(0, 2).index_select(0, sources.flatten())
    return picked.view(*sources.shape, *states.shape[3:])


class PackedLayer(DynamicLayer):  # type: ignore[misc] # transformers is not typed
    """The keys and values of one pass in one layer.

    Args:
        continued: the same layer of the previous pass; None for a first pass.
    """

    keys: Tensor
    values: Tensor

    def __init__(self, continued: PackedLayer | None = None) -> None:
        super().__init__()
        self.continued = continued

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Store the states of the new tokens and return them."""
        self.lazy_initialization(key_states, value_states)
        self.keys, self.values = key_states, value_states
        return key_states, value_states

    def earlier(self) -> Iterator[PackedLayer]:
        """This layer of the earlier passes, the last pass first."""
        link = self.continued
        while link is not None:
            yield link
            link = link.continued

    def tokens_held(self) -> int:
        """Tokens of this pass and of those it continues."""
        kept = [layer for layer in (self, *self.earlier()) if layer.is_initialized]
        return sum(layer.keys.shape[-2] for layer in kept)


class PackedCache(Cache):  # type: ignore[misc]
    """The KV cache of one pass, linked to that of the previous pass.

    Args:
        packing: the places of the texts; None: one text, as long as the cache is filled.
        before: the cache of the previous pass.
    """

    def __init__(self, packing: Packing | None = None, before: PackedCache | None = None) -> None:
        super().__init__(layer_class_to_replicate=PackedLayer)
        self._packing = packing
        self.layers: list[PackedLayer] = []
        if before:
            self.layers += [PackedLayer(layer) for layer in before.layers]

    @property
    def packing(self) -> Packing | None:
        """The places of the texts; None while the cache is empty."""
        if self._packing or not self.layers:
            return self._packing
        return Packing((int(self.get_seq_length()),))
