"""What prompts begin with, computed once.

Beginnings are computed piece by piece, and a piece stays as long as what is asked next begins with
it. So the shots before all questions are computed once, however many batches there are, and a
passage once for its questions, where these are neighbours.
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

# Beginnings are cut at multiples of it, wherever they fork. What stays is then computed as it would
# be anew, and an answer does not depend, in its last bits, on what was asked before.
_PIECE_TOKENS = 128


class PrefixCache:
    """The keys and values of a beginning, in one row, with those of a soft prompt before it.

    The model must not change while it is used.
    """

    def __init__(self, model: Any, soft_prompt: SoftPrompt) -> None:
        self._model, self._soft_prompt = model, soft_prompt
        self._held: tuple[Any, list[Tokens]] | None = None

    def reach(self, path: Sequence[Node]) -> Any:
        """The cache of the tokens of these nodes. It is valid until the next call."""
        cache, pieces = self._held or (self._root(), [])
        self._held = None  # a pass that is interrupted leaves a torn cache
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
    """The tokens of a node, cut where the prompt's length is a multiple of a piece."""
    first = _PIECE_TOKENS - node.start % _PIECE_TOKENS
    ends = [0, *range(first, len(node.tokens), _PIECE_TOKENS), len(node.tokens)]
    for start, end in pairwise(ends):
        yield node.tokens[start:end]


def _common(one: Sequence[Tokens], other: Sequence[Tokens]) -> int:
    """How many pieces two beginnings have in common."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
