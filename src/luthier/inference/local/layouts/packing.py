"""Where texts lie in the one row of a pass, and the keys and values that they leave there."""

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
    """Fill rows one after the other, the longest texts first, so that neighbours are alike.

    Args:
        lengths: tokens of each text.
        tokens: of a row at most, unless a single text is longer.

    Returns:
        Indices into ``lengths``, a list a row.
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
    """Neighbouring texts that continue the same one.

    Attributes:
        own: the places of their tokens.
        before: the places of its tokens in the row of an earlier pass.
    """

    own: slice
    before: slice


@dataclass(frozen=True, eq=False)
class Packing:
    """Texts that follow one another in a row.

    Attributes:
        lengths: tokens of each.
        parents: which text of the pass before each continues. Those that continue the same one
            should be neighbours, since each run of such neighbours is attended to apart.
        before: the pass that they continue; None: they begin.
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
        """How many tokens stand before each text, all passes together."""
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
        """What is continued in each earlier pass, the last pass first."""
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
        """Places of a rectangle with a row for each text."""
        return len(self.lengths) * max(self.lengths)

    @cached_property
    def _places(self) -> tuple[Tensor, Tensor, Tensor]:
        """Which token stands at each place of the rectangle; the row and column of each token."""
        columns_T = torch.arange(max(self.lengths))
        lengths_B1 = torch.tensor(self.lengths)[:, None]
        firsts_B1 = torch.tensor([part.start for part in self.parts])[:, None]
        real_BT = columns_T < lengths_B1
        rows_N, columns_N = real_BT.nonzero(as_tuple=True)
        return torch.where(real_BT, firsts_B1 + columns_T, 0), rows_N, columns_N

    def apart(self, states_1HND: Tensor) -> Tensor:
        """Each text in a row of its own, ``[B, H, T, D]``, filled up on the right with anything."""
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
    """What stands at some of the places that the first three dimensions count."""
    picked = states.flatten(0, 2).index_select(0, sources.flatten())
    return picked.view(*sources.shape, *states.shape[3:])


class PackedLayer(DynamicLayer):  # type: ignore[misc] # transformers is not typed
    """The keys and values of one pass in one layer.

    Args:
        continued: the layer of the pass that this one continues; None: it begins.
    """

    keys: Tensor
    values: Tensor

    def __init__(self, continued: PackedLayer | None = None) -> None:
        super().__init__()
        self.continued = continued

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Keep the states of the new tokens, and give them back."""
        self.lazy_initialization(key_states, value_states)
        self.keys, self.values = key_states, value_states
        return key_states, value_states

    def earlier(self) -> Iterator[PackedLayer]:
        """The layers of the passes before, the last one first."""
        link = self.continued
        while link is not None:
            yield link
            link = link.continued

    def tokens_held(self) -> int:
        """Tokens of this pass and of those it continues."""
        kept = [layer for layer in (self, *self.earlier()) if layer.is_initialized]
        return sum(layer.keys.shape[-2] for layer in kept)


class PackedCache(Cache):  # type: ignore[misc]
    """The keys and values of one pass, and what they continue.

    Args:
        packing: where its texts lie; None: it is one text, as it is filled.
        before: the cache of the pass that it continues.
    """

    def __init__(self, packing: Packing | None = None, before: PackedCache | None = None) -> None:
        super().__init__(layer_class_to_replicate=PackedLayer)
        self._packing = packing
        self.layers: list[PackedLayer] = []
        if before:
            self.layers += [PackedLayer(layer) for layer in before.layers]

    @property
    def packing(self) -> Packing | None:
        """Where the texts lie; None while there are none."""
        if self._packing or not self.layers:
            return self._packing
        return Packing((int(self.get_seq_length()),))
