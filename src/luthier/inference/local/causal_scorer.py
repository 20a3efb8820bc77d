"""Scoring with a causal model.

The tokens of all requests form a radix tree, which is walked depth first. A node's keys and values
are computed once, serve all nodes below it, and are then discarded. Nodes that continue texts of
one pass are computed together; the layout decides their places in the pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch

from luthier.inference.engine import ignore_progress
from luthier.inference.local.branching_cache import tokens_held
from luthier.inference.local.budget import Budget, pass_cost_in_tokens
from luthier.inference.local.layouts import Layout, Whole, WholeOfOneLength, ways_to_share
from luthier.inference.local.radix_tree import (
    Node,
    merge_cheap_prefixes,
    radix_tree,
    split_long_nodes,
)
from luthier.inference.local.scorer import Scorer, Tally, Target, score_targets
from luthier.inference.tokenise import TokenRequest
from luthier.models.cache_support import settled_length
from luthier.models.forward import last_feed_forward
from luthier.models.load import LoadedModel


class _ScoringStrategy(NamedTuple):
    """The way in which passes are computed.

    Attributes:
        layout: the layout of texts in a pass.
        feed_forward: a module computed only at the scored positions, see `logits_at_indices`.
    """

    layout: Layout
    feed_forward: torch.nn.Module | None = None


class CausalScorer(Scorer):
    """Scores requests of a causal model.

    Args:
        loaded, budget: see `Scorer`.
        pass_cost: the tokens that sharing must save, see `merge_cheap_prefixes`; None: the
            default of the device.
    """

    def __init__(self, loaded: LoadedModel, budget: Budget, pass_cost: float | None = None) -> None:
        super().__init__(loaded, budget)
        self._pass_cost = pass_cost_in_tokens(self._device) if pass_cost is None else pass_cost

    def _score(self, requests: Sequence[TokenRequest], tally: Tally) -> None:
        most = settled_length(self._model.config) - self._soft_prompt.length
        lengths = [len(r.context) + len(r.continuation) - 1 for r in requests]
        parts: dict[int, list[int]] = defaultdict(list)
        for index, length in enumerate(lengths):
            parts[length if length > most else 0].append(index)
        for length, part in parts.items():
            # Beyond `most`, RoPE frequencies depend on the length, so that even equal prefixes get
            # different keys: texts of each length are computed separately.
            way = _ScoringStrategy(WholeOfOneLength()) if length else self.way
            chosen = [requests[index] for index in part]
            self._walk(chosen, tally.part(part), way, self._pass_cost)

    @cached_property
    def way(self) -> _ScoringStrategy:
        """The fastest strategy whose scores equal those of whole texts and layers.

        Raises:
            DataError: no strategy does, see `Trial`.
        """
        parts = dict.fromkeys((last_feed_forward(self._model), None))
        layouts = (*ways_to_share(self._model), Whole(), WholeOfOneLength())
        ways = (_ScoringStrategy(layout, part) for layout in layouts for part in parts)
        return self._trial.choose(ways, self._agrees)

    def _agrees(self, way: _ScoringStrategy) -> bool:
        requests = self._trial.requests()
        tally = Tally(requests, ignore_progress)
        self._walk(requests, tally, way, pass_cost=0)
        return self._trial.agrees_with_scores(tally.scores())

    def _walk(
        self,
        requests: Sequence[TokenRequest],
        tally: Tally,
        way: _ScoringStrategy,
        pass_cost: float,
    ) -> None:
        """Score the requests, and share prefixes that are worth their cost."""
        layout = way.layout
        root = radix_tree([(*r.context, *r.continuation[:-1]) for r in requests])
        merge_cheap_prefixes(root, pass_cost, layout.worth_a_node(pass_cost))
        start = layout.begin()
        # A layout without sharing calls the model as it was loaded, soft prompt included.
        model = self._loaded.model if start is None else self._model
        if start is not None:
            split_long_nodes(root, self._budget.computed)
            self._soft_prompt.fill(model, start)
        walk = _Walk(model, self._budget, _asked(root, requests), tally, way)
        with layout.attention(model):
            walk.run(root, start)


class _Asked(NamedTuple):
    """A token to score after one of a node's tokens, at an offset in the node."""

    request: int
    token: int
    offset: int


def _asked(root: Node, requests: Sequence[TokenRequest]) -> dict[Node, list[_Asked]]:
    """The tokens to score at each node."""
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
    """A node, and the index of its parent's text in the previous pass."""

    node: Node
    before: int


@dataclass(frozen=True, slots=True)
class _Walk:
    """One walk through a radix tree; see `CausalScorer._walk`."""

    model: Any
    budget: Budget
    asked: dict[Node, list[_Asked]]
    tally: Tally
    way: _ScoringStrategy

    def run(self, root: Node, start: Any) -> None:
        """Compute all nodes, each after its parent.

        Args:
            root: the tree.
            start: the cache that the root's children continue.
        """
        # Nodes below a node wait in an iterator, so that the only caches in memory are those on
        # the path to the current node.
        waiting = [self._below([_Branch(child, 0) for child in root.children], start)]
        while waiting:
            computed = next(waiting[-1], None)
            if computed is None:
                waiting.pop()
                continue
            batch, cache = computed
            children = [
                _Branch(child, number)
                for number, parent in enumerate(batch)
                for child in parent.node.children
            ]
            waiting.append(self._below(children, cache))

    def _below(
        self, branches: Sequence[_Branch], cache: Any
    ) -> Iterator[tuple[list[_Branch], Any]]:
        """Compute the nodes that continue a pass; yields the batches that have children."""
        leaves = [branch for branch in branches if not branch.node.children]
        inner = [branch for branch in branches if branch.node.children]
        passes = partial(
            self.budget.passes,
            compute=partial(self._compute, cache=cache),
            length=lambda branch: len(branch.node.tokens),
            held=tokens_held(cache),
        )
        cut = partial(self.way.layout.cut, cache=cache)
        for _ in passes(leaves, cut=partial(cut, go_on=False)):
            pass
        yield from passes(inner, cut=partial(cut, go_on=True))

    def _compute(self, batch: list[_Branch], cache: Any) -> Any:
        """Run one forward pass and return its cache, which continues ``cache``."""
        texts, before = [branch.node.tokens for branch in batch], [one.before for one in batch]
        laid = self.way.layout.lay(texts, before, cache, self.model.device)
        targets = [
            Target(asked.request, asked.token, row, first + asked.offset)
            for branch, (row, first) in zip(batch, laid.firsts, strict=True)
            for asked in self.asked.get(branch.node, ())
        ]
        scores = score_targets(self.model, laid.inputs, targets, laid.width, self.way.feed_forward)
        self.tally.add(targets, *scores)
        return laid.cache
