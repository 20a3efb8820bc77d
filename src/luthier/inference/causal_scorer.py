"""Scores of a causal model.

All requests form a radix tree of their tokens. It is walked depth first: a node's keys and values
are computed once, serve all that continues it, and are then forgotten. Nodes that continue rows of
one pass are computed together, those with children in batches of one length, so that no key of a
padded position ever stands before another token, and no mask is needed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch

from luthier.inference.branch_cache import branch, tokens_copied, tokens_held
from luthier.inference.budget import Budget, pass_cost_in_tokens
from luthier.inference.engine import ScoreRequest, ignore_progress
from luthier.inference.padding import MAX_PADDING, pad
from luthier.inference.radix_tree import Node, merge_cheap_prefixes, radix_tree, split_long_nodes
from luthier.inference.scorer import Scorer, Tally, Target, score_targets
from luthier.inference.sharing import Sharing, ways_to_share
from luthier.models.load import LoadedModel

_NEVER = float("inf")


# Two prefixes of one length that continue another, and two ends of each: what a tree can hold.
_TRIED = tuple(
    ScoreRequest((1, 2, *middle, last), (9,)) for middle in ((3, 4), (5, 6)) for last in (7, 8)
)


class CausalScorer(Scorer):
    """Scores requests of a causal model.

    Args:
        loaded, budget: see `Scorer`.
        pass_cost: what sharing must spare, see `merge_cheap_prefixes`; None: as usual here.
    """

    def __init__(self, loaded: LoadedModel, budget: Budget, pass_cost: float | None = None) -> None:
        super().__init__(loaded, budget)
        self._pass_cost = pass_cost_in_tokens(self._device) if pass_cost is None else pass_cost

    def _score(self, requests: Sequence[ScoreRequest], tally: Tally) -> None:
        if self._sharing:
            self._walk(requests, tally, self._sharing, self._pass_cost)
        else:
            self._walk_whole(requests, tally)

    @cached_property
    def _sharing(self) -> Sharing | None:
        """The first way in which continued texts give what whole texts give, if there is one."""
        return next(filter(self._agrees, ways_to_share(self._model)), None)

    def _agrees(self, sharing: Sharing) -> bool:
        whole, shared = (Tally(_TRIED, ignore_progress) for _ in range(2))
        self._walk_whole(_TRIED, whole)
        try:
            self._walk(_TRIED, shared, sharing, pass_cost=0)
        except (TypeError, RuntimeError):  # the model's forward does not know this way
            return False
        # Rounding differs, by far less than what a forgotten prefix would change.
        tolerance = 4 * torch.finfo(self._model.dtype).eps ** 0.5
        pairs = zip(whole.scores(), shared.scores(), strict=True)
        return all(abs(one.logprob - other.logprob) <= tolerance for one, other in pairs)

    def _walk(
        self, requests: Sequence[ScoreRequest], tally: Tally, sharing: Sharing, pass_cost: float
    ) -> None:
        """Score the requests, sharing what is worth a pass of its own."""
        root = _tree(requests, pass_cost)
        split_long_nodes(root, self._budget.computed)
        start = sharing.begin()
        self._soft_prompt.fill(self._model, start)
        walk = _Walk(self._model, self._budget, _asked(root, requests), tally, sharing)
        with sharing.attention(self._model):
            walk.run(root, start)

    def _walk_whole(self, requests: Sequence[ScoreRequest], tally: Tally) -> None:
        """Score the requests, each text that is not another's beginning in a row of its own."""
        root = _tree(requests, _NEVER)
        _Walk(self._loaded.model, self._budget, _asked(root, requests), tally).run(root, None)


def _tree(requests: Sequence[ScoreRequest], pass_cost: float) -> Node:
    root = radix_tree([(*r.context, *r.continuation[:-1]) for r in requests])
    merge_cheap_prefixes(root, pass_cost)
    return root


class _Asked(NamedTuple):
    """A token whose probability is asked for after one of a node's tokens."""

    request: int
    token: int
    offset: int


def _asked(root: Node, requests: Sequence[ScoreRequest]) -> dict[Node, list[_Asked]]:
    """What is asked for at each node."""
    asked: dict[Node, list[_Asked]] = defaultdict(list)
    for node, path in root.ancestry():
        for index in node.ends:
            first, wanted = len(requests[index].context) - 1, requests[index].continuation
            for above in reversed(path):
                end = min(above.start + len(above.tokens), first + len(wanted))
                asked[above].extend(
                    _Asked(index, wanted[place - first], place - above.start)
                    for place in range(max(first, above.start), end)
                )
                if above.start <= first:
                    break
    return asked


class _Branch(NamedTuple):
    """A node, and which row of the pass before holds its parent."""

    node: Node
    row: int


@dataclass(frozen=True, slots=True)
class _Walk:
    """One walk through a tree; its parts are those of `CausalScorer._walk`."""

    model: Any
    budget: Budget
    asked: dict[Node, list[_Asked]]
    tally: Tally
    sharing: Sharing | None = None

    def run(self, root: Node, start: Any) -> None:
        """Compute all nodes, each after its parent.

        Args:
            root: the tree.
            start: the cache that its first nodes continue; None: nothing is shared.
        """
        # What is below a node waits in an iterator, so that the only caches in memory are those
        # on the way to the node at hand.
        waiting = [self._below([_Branch(child, 0) for child in root.children], start)]
        while waiting:
            computed = next(waiting[-1], None)
            if computed is None:
                waiting.pop()
                continue
            batch, cache = computed
            children = [
                _Branch(child, row)
                for row, parent in enumerate(batch)
                for child in parent.node.children
            ]
            waiting.append(self._below(children, cache))

    def _below(
        self, branches: Sequence[_Branch], cache: Any
    ) -> Iterator[tuple[list[_Branch], Any]]:
        """Compute what continues a pass; yields the batches that go on themselves."""
        leaves = [branch_ for branch_ in branches if not branch_.node.children]
        inner = [branch_ for branch_ in branches if branch_.node.children]
        passes = partial(
            self.budget.passes,
            compute=partial(self._compute, cache=cache),
            length=lambda branch_: len(branch_.node.tokens),
            extra=tokens_copied(cache),
            held=tokens_held(cache),
        )
        for _ in passes(leaves, max_padding=MAX_PADDING):
            pass
        yield from passes(inner, max_padding=0.0)

    def _compute(self, batch: list[_Branch], cache: Any) -> Any:
        """One forward pass; its cache, which continues another."""
        device = self.model.device
        ids_BT, _ = pad([node.tokens for node, _ in batch], device, "right")
        inputs: dict[str, Any] = {"input_ids": ids_BT, "use_cache": False}
        if self.sharing:
            rows_B = torch.tensor([row for _, row in batch], device=device)
            cache = branch(cache, rows_B)
            inputs |= self.sharing.inputs(cache)
        targets = [
            Target(asked.request, asked.token, row, asked.offset)
            for row, (node, _) in enumerate(batch)
            for asked in self.asked.get(node, ())
        ]
        self.tally.add(targets, *score_targets(self.model, inputs, targets, ids_BT.shape[1]))
        return cache
