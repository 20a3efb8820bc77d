"""Base class of the ways to reuse earlier forward passes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import ClassVar

from luthier.inference.local.decoding import Rows
from luthier.inference.local.radix_tree import Node, Tokens, merge_cheap_prefixes, radix_tree

# Tokens of a prefill pass: enough to keep the arithmetic units busy.
PREFILL_TOKENS = 2048


class Reuse(ABC):
    """A way to read prompts and continue them token by token.

    Attributes:
        description: a human-readable summary of the reused state.
    """

    description: ClassVar[str]

    @abstractmethod
    def start(
        self, prompts: Sequence[Sequence[int]], batch: Sequence[int], pass_cost: float
    ) -> Iterator[Rows]:
        """Read some prompts.

        Args:
            prompts: token ids.
            batch: indices of the prompts to read.
            pass_cost: the tokens that sharing must save, see `merge_cheap_prefixes`.

        Yields:
            Rows that are answered together. Finish each before you take the next.
        """


def of_one_length(
    prompts: Sequence[Sequence[int]], batch: Sequence[int], tokens: int = PREFILL_TOKENS
) -> Iterator[list[int]]:
    """Groups of prompts of equal length, each of at most ``tokens`` tokens or one prompt."""
    alike: dict[int, list[int]] = defaultdict(list)
    for index in batch:
        alike[len(prompts[index])].append(index)
    for length, members in alike.items():
        count = max(1, tokens // length)
        for first in range(0, len(members), count):
            yield members[first : first + count]


def forks(
    prompts: Sequence[Tokens], pass_cost: float
) -> Iterator[tuple[tuple[Node, ...], int, list[int]]]:
    """The ends of shared prefixes in the radix tree, as far as sharing pays.

    Args:
        prompts: token ids.
        pass_cost: the tokens that sharing must save, see `merge_cheap_prefixes`.

    Yields:
        The nodes of the shared prefix, its number of tokens, and the prompts that share nothing
        beyond it. Prefixes on one path down the tree are neighbours.
    """
    root = radix_tree(prompts)
    merge_cheap_prefixes(root, pass_cost)
    for node, path in (root, ()), *root.ancestry():
        # A prompt keeps at least one token of its own: its last token is read for its logits.
        members = [index for child in node.children for index in child.ends]
        if members:
            yield path, node.start + len(node.tokens), members
