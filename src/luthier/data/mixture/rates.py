"""The mixing rates of sources: their shares of the draws."""

from __future__ import annotations

import math
from collections.abc import Sequence

from luthier.core.errors import UsageError


def proportional(
    sizes: Sequence[int], *, cap: int | None = None, temperature: float = 1.0
) -> tuple[float, ...]:
    """Rates that follow the sizes of the sources.

    Examples-proportional mixing (Raffel et al. 2020, arXiv 1910.10683, section 3.5.2): a source of
    n examples gets min(n, cap) ** (1 / temperature), normalised over all. The cap comes before the
    temperature, as in seqio. A high temperature brings the rates closer to equal ones.

    Args:
        sizes: the number of examples of each source, without those that were left out.
        cap: the size above which a source gets no higher rate; None: none.
        temperature: 1 for proportional rates.

    Returns:
        A rate per source; they sum to 1.

    Raises:
        UsageError: no source has an example.
    """
    capped = [size if cap is None else min(size, cap) for size in sizes]
    return normalised([size ** (1 / temperature) for size in capped])


def equal(num_sources: int) -> tuple[float, ...]:
    """The same rate for each source."""
    return normalised([1.0] * num_sources)


def normalised(weights: Sequence[float]) -> tuple[float, ...]:
    """Weights as shares of their sum.

    Raises:
        UsageError: they sum to 0.
    """
    total = math.fsum(weights)
    if not total:
        raise UsageError(
            "the rates of the sources sum to 0",
            where="rates",
            fix="give at least one source with rows a weight above 0",
        )
    return tuple(weight / total for weight in weights)
