"""The rates and draws of a mixture's sources, from their usable examples."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from luthier.core.errors import DataError, UsageError
from luthier.core.names import listed
from luthier.data.mixture.order import Sources
from luthier.data.mixture.rates import equal, normalised, proportional
from luthier.tasks.mixture import Mixture


def sources_of(mixture: Mixture, owners: Sequence[str]) -> Sources:
    """The sources of a mixture with their rates and draws.

    Args:
        mixture: the settings.
        owners: the source of each usable training example, source by source.

    Raises:
        DataError: a source has no usable example.
        UsageError: ``draws`` is more than ``max_passes`` allows.
    """
    counts = Counter(owners)
    if len(counts) < len(mixture.sources):
        raise DataError(
            f"only {listed(counts)} of the {len(mixture.sources)} sources of {mixture.name} have "
            "usable training examples",
            fix="see the reasons with 'luthier data show', or leave out the sources without any",
        )
    sizes = tuple(counts.values())
    draws = mixture.draws or sum(sizes)
    rates = _rates(mixture, sizes)
    if mixture.max_passes is not None:
        rates, most = limited(rates, sizes, draws, mixture.max_passes)
        if mixture.draws is not None and most < draws:
            raise UsageError(
                f"{mixture.name} draws {draws:,} examples, but {mixture.max_passes:g} passes over "
                f"its sources are only {most:,}",
                where="draws, max_passes",
                fix="lower draws, or raise max_passes",
            )
        draws = most
    return Sources(tuple(counts), sizes, rates, draws, may_repeat=mixture.draws is None)


def _rates(mixture: Mixture, sizes: Sequence[int]) -> tuple[float, ...]:
    if mixture.rates == "equal":
        return equal(len(sizes))
    if mixture.rates == "weights":
        return normalised([one.weight or 0.0 for one in mixture.sources])
    return proportional(sizes, cap=mixture.cap, temperature=mixture.temperature)


def limited(
    rates: Sequence[float], sizes: Sequence[int], draws: int, max_passes: float
) -> tuple[tuple[float, ...], int]:
    """Rates with which no source shows its examples more than ``max_passes`` times.

    The draws that a source may not have go to the others, in proportion to their rates.

    Args:
        rates: the wanted shares of the sources.
        sizes: the number of examples of each.
        draws: the number of draws.
        max_passes: the most passes over a source.

    Returns:
        The rates, and the draws: fewer than ``draws`` if all sources are at their limit.
    """
    most = [max_passes * size for size in sizes]
    held: set[int] = set()
    while True:
        free = [source for source in range(len(rates)) if source not in held]
        left = draws - math.fsum(most[source] for source in held)
        share = math.fsum(rates[source] for source in free)
        if not share:
            allowed = max(1, math.floor(math.fsum(most)))
            return normalised(most), min(draws, allowed)
        wanted = {source: left * rates[source] / share for source in free}
        over = {source for source, count in wanted.items() if count > most[source]}
        if not over:
            counts = [wanted.get(source, most[source]) for source in range(len(rates))]
            return normalised(counts), draws
        held |= over
