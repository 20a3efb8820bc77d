"""Ways in which a causal model reuses earlier passes during token-by-token generation."""

from __future__ import annotations

from collections.abc import Iterator

from luthier.inference.local.reuse.afresh import Afresh, AfreshByRow
from luthier.inference.local.reuse.base import Reuse
from luthier.inference.local.reuse.own_state import (
    OwnState,
    OwnStateAtPositions,
    OwnStateByRow,
    OwnStateByToken,
)
from luthier.inference.local.reuse.shared import SharedPrefixes, SharedPrefixesByLength
from luthier.inference.local.soft_prompt import Conditioned
from luthier.models.cache_support import counts_places, keeps_all_states

__all__ = [
    "Afresh",
    "AfreshByRow",
    "OwnState",
    "OwnStateAtPositions",
    "OwnStateByRow",
    "OwnStateByToken",
    "Reuse",
    "SharedPrefixes",
    "SharedPrefixesByLength",
    "ways_to_reuse",
]


def ways_to_reuse(conditioned: Conditioned) -> Iterator[Reuse]:
    """The ways that may suit a causal model, the fastest first; `Trial` tests each.

    A way is left out if it is right for short texts but wrong for long ones.

    Args:
        conditioned: the model.
    """
    if keeps_all_states(conditioned.bare):
        if not counts_places(conditioned.bare.config):
            yield SharedPrefixes(conditioned)
        yield SharedPrefixesByLength(conditioned)
    yield OwnState(conditioned)
    yield OwnStateAtPositions(conditioned)
    yield OwnStateByToken(conditioned)
    yield OwnStateByRow(conditioned)
    yield Afresh(conditioned)
    yield AfreshByRow(conditioned)
