"""The order in which a mixture draws from its sources.

The draws come in blocks of 256. A block has a slot for each draw: a source with a quota of 256 · r
draws owns its whole part of them for good, and the slots that are left go to the sources whose
fractions are owed most. A source that keeps such a slot in the next block keeps the same one. So
every stretch of 256 draws, wherever it begins, holds each source within one draw of its quota.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from luthier.core.seeds import derive

WINDOW = 256
"""The number of draws in which each source is within one of its quota."""


class Draw(NamedTuple):
    """One draw.

    Attributes:
        source: the index of the source.
        example: the index of the example in its source.
        repeat: how often the example was drawn before.
    """

    source: int
    example: int
    repeat: int


@dataclass(frozen=True, slots=True)
class DrawOrder:
    """The draws of a mixture: a function of the rates, the sizes, the seed and their number.

    Attributes:
        rates: the share of each source; they sum to 1.
        sizes: the number of examples of each source.
        seed: the seed of the slots and of the order within each source.
    """

    rates: tuple[float, ...]
    sizes: tuple[int, ...]
    seed: int
    _orders: dict[tuple[int, int], tuple[int, ...]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def draws(self) -> Iterator[Draw]:
        """All draws, without an end: each source shows all its examples before any recurs."""
        drawn = [0] * len(self.rates)
        for source in self.sources():
            repeat, place = divmod(drawn[source], self.sizes[source])
            yield Draw(source, self._order(source, repeat)[place], repeat)
            drawn[source] += 1

    def sources(self) -> Iterator[int]:
        """The source of each draw, without an end."""
        whole = [math.floor(WINDOW * rate) for rate in self.rates]
        fractions = [WINDOW * rate - own for rate, own in zip(self.rates, whole, strict=True)]
        partial = [source for source, part in enumerate(fractions) if part > 0]
        slots = _slots(whole, derive(self.seed, "slots"))
        open_slots = [place for place, owner in enumerate(slots) if owner is None]
        owed = [0.0] * len(self.rates)
        holders: list[int] = []
        while True:
            owed = [debt + part for debt, part in zip(owed, fractions, strict=True)]
            chosen = sorted(partial, key=lambda i: (-owed[i], i))[: len(open_slots)]
            for source in chosen:
                owed[source] -= 1
            holders = _seated(holders, chosen)
            given = dict(zip(open_slots, holders, strict=True))
            yield from (given[place] if own is None else own for place, own in enumerate(slots))

    def _order(self, source: int, repeat: int) -> tuple[int, ...]:
        """The order of a source's examples in one of its passes; only the last is kept."""
        if (found := self._orders.get((source, repeat))) is None:
            order = list(range(self.sizes[source]))
            random.Random(derive(self.seed, "source", source, repeat)).shuffle(order)  # noqa: S311
            self._orders.pop((source, repeat - 1), None)
            found = self._orders[source, repeat] = tuple(order)
        return found


def _slots(whole: Sequence[int], seed: int) -> list[int | None]:
    """The owner of each slot of a block; None: open to the sources that are owed a draw.

    The slots of an owner are spread: one falls into each of as many equal parts of the block.
    """
    rng = random.Random(seed)  # noqa: S311
    counts: list[tuple[int | None, int]] = [*enumerate(whole), (None, WINDOW - sum(whole))]
    placed = [
        ((part + rng.random()) / count, owner) for owner, count in counts for part in range(count)
    ]
    return [owner for _, owner in sorted(placed, key=lambda one: one[0])]


def _seated(before: Sequence[int], chosen: Sequence[int]) -> list[int]:
    """The chosen sources by slot: those of the block before keep theirs, others fill the rest."""
    arriving = iter([source for source in chosen if source not in before])
    if not before:
        return list(arriving)
    return [source if source in chosen else next(arriving) for source in before]
