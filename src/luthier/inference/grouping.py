"""Batches of prompts for generation."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.config import Beam, Decoding
from luthier.core.errors import UsageError
from luthier.inference.local.radix_tree import Node, merge_cheap_prefixes, radix_tree

# A shared prefix decides the order of prompts only if it saves at least this many tokens. Below
# that, batching prompts of similar length saves more, because it avoids padding.
_TOKENS_WORTH_A_GROUP = 64


def generation_batches(
    prompts: Sequence[Sequence[int]], decoding: Decoding, tokens: int
) -> list[list[int]]:
    """Cut prompts into batches: neighbours share long prefixes or are of similar length.

    The function is idempotent: a batch that is cut again stays one batch.

    Args:
        prompts: token ids.
        decoding: its token limit and its number of beams set the size of an answer.
        tokens: the limit of a batch's KV cache; a single prompt may exceed it.

    Returns:
        Indices into ``prompts``.

    Raises:
        UsageError: a prompt has no tokens.
    """
    for index, ids in enumerate(prompts):
        if not ids:
            raise UsageError("a prompt has no tokens", where=f"prompt {index}")
    strategy = decoding.strategy
    rows = strategy.num_beams if isinstance(strategy, Beam) else 1
    batches: list[list[int]] = []
    longest = 0
    for index in _order([tuple(ids) for ids in prompts]):
        wider = max(longest, len(prompts[index]))
        if batches and (len(batches[-1]) + 1) * rows * (wider + decoding.max_new_tokens) <= tokens:
            batches[-1].append(index)
            longest = wider
        else:
            batches.append([index])
            longest = len(prompts[index])
    return batches


def _order(prompts: Sequence[tuple[int, ...]]) -> list[int]:
    """The prompts in the order of their radix tree, the longest branch first at every fork."""
    root = radix_tree(prompts)
    merge_cheap_prefixes(root, _TOKENS_WORTH_A_GROUP)
    longest: dict[Node, tuple[int, int]] = {}  # longest prompt below a node; ties: the first
    for node in reversed(list(root.descendants())):
        ends = [(-len(prompts[index]), index) for index in node.ends]
        longest[node] = min([*ends, *(longest[child] for child in node.children)], default=(0, 0))
    for node in longest:
        node.children.sort(key=longest.__getitem__)
        node.ends.sort(key=lambda index: (-len(prompts[index]), index))
    return [index for node in root.descendants() for index in node.ends]
