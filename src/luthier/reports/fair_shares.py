"""Fair division of limited space."""

from __future__ import annotations

from collections.abc import Sequence


def fair_shares(sizes: Sequence[int], room: int) -> list[int]:
    """The share of each size in limited space; space that small ones leave goes to the others.

    Args:
        sizes: the requested sizes.
        room: the available space.
    """
    shares = [0] * len(sizes)
    for place, index in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
        shares[index] = min(sizes[index], room // (len(sizes) - place))
        room -= shares[index]
    return shares
