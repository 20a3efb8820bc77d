"""How rows read the keys and values of a prefix that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from luthier.inference.branch_attention import branch_attention, may_branch
from luthier.inference.branch_cache import BranchLayer, SplitLayer, begin
from luthier.models.continuing import keeps_all_states, rope_follows_the_batch


@dataclass(frozen=True, slots=True)
class Sharing:
    """One way to do it.

    Attributes:
        layer: what the cache of a pass is made of.
        attention: the state that a model is in while it is given such caches.
        inputs: what its forward is given for a cache.
    """

    layer: type[BranchLayer]
    attention: Callable[[Any], AbstractContextManager[None]]
    inputs: Callable[[Any], dict[str, Any]]

    def begin(self) -> Any:
        """The cache of a pass that continues nothing."""
        return begin(self.layer)


def _cached(cache: Any) -> dict[str, Any]:
    return {"past_key_values": cache, "use_cache": True}


JOINED = Sharing(BranchLayer, lambda _model: nullcontext(), _cached)
"""Each layer puts the earlier keys before the new ones, which serves any attention."""
SPLIT = Sharing(SplitLayer, branch_attention, lambda cache: {**_cached(cache), "branches": cache})
"""The attention reads the earlier keys where they lie, which is faster."""


def ways_to_share(model: Any) -> Iterator[Sharing]:
    """The ways that may suit a causal model, the fastest first; each is to be tried out."""
    if keeps_all_states(model) and not rope_follows_the_batch(model.config):
        if may_branch(model):
            yield SPLIT
        yield JOINED
