"""Prefix cache: the keys and values of shared prefixes, computed once.

Prefixes are computed piece by piece. A piece stays in the cache while the next prompts begin with
it. So the shots before all questions are computed once for all batches, and a passage is computed
once for all of its questions that are neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch

from luthier.inference.local.cache import preallocated_cache
from luthier.inference.local.radix_tree import Node, Tokens
from luthier.inference.local.soft_prompt import SoftPrompt
from luthier.models.forward import logits_at_indices

# Prefixes are cut at multiples of this length, wherever they fork. A kept piece then has the same
# numbers as a recomputed one, so that the last bits of an answer do not depend on earlier prompts.
_PIECE_TOKENS = 128


class PrefixCache:
    """The keys and values of one prefix, in one row, after those of a soft prompt.

    The model must not change while the cache is used.
    """

    def __init__(self, model: Any, soft_prompt: SoftPrompt) -> None:
        self._model, self._soft_prompt = model, soft_prompt
        self._held: tuple[Any, list[Tokens]] | None = None

    def reach(self, path: Sequence[Node]) -> Any:
        """The cache of the tokens of these nodes. It is valid until the next call."""
        cache, pieces = self._held or (self._root(), [])
        self._held = None  # an interrupted pass leaves an inconsistent cache
        wanted = [piece for node in path for piece in _pieces(node)]
        kept = _common(pieces, wanted)
        surplus = sum(map(len, pieces[kept:]))
        if surplus:
            cache.crop(-surplus)
        for piece in wanted[kept:]:
            self._grow(cache, piece)
        self._held = cache, wanted
        return cache

    def _root(self) -> Any:
        cache = preallocated_cache()
        self._soft_prompt.fill(self._model, cache)
        return cache

    def _grow(self, cache: Any, piece: Tokens) -> None:
        device = self._model.device
        nowhere = torch.empty(0, dtype=torch.long, device=device)
        input_1T = torch.tensor([piece], device=device)
        inputs = {"input_ids": input_1T, "past_key_values": cache, "use_cache": True}
        logits_at_indices(self._model, inputs, nowhere, nowhere)


def _pieces(node: Node) -> Iterator[Tokens]:
    """The tokens of a node, cut at the prompt's multiples of the piece length."""
    first = _PIECE_TOKENS - node.start % _PIECE_TOKENS
    ends = [0, *range(first, len(node.tokens), _PIECE_TOKENS), len(node.tokens)]
    for start, end in pairwise(ends):
        yield node.tokens[start:end]


def _common(one: Sequence[Tokens], other: Sequence[Tokens]) -> int:
    """The number of pieces that two prefixes have in common."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
