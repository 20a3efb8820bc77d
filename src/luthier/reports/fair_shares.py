"""Room that is shared among several."""

from __future__ import annotations

from collections.abc import Sequence


def fair_shares(sizes: Sequence[int], room: int) -> list[int]:
    """How much of each goes into a room for all: what small ones leave goes to the others.

    Args:
        sizes: how much there is of each.
        room: for how much there is room in all.
    """
    shares = [0] * len(sizes)
    for place, index in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
        shares[index] = min(sizes[index], room // (len(sizes) - place))
        room -= shares[index]
    return shares
