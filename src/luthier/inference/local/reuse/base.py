"""What a way of reusing earlier passes is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import ClassVar

from luthier.inference.local.decoding import Rows
from luthier.inference.local.radix_tree import Node, Tokens, merge_cheap_prefixes, radix_tree

# Tokens that are computed together: enough to keep the arithmetic units busy.
PREFILL_TOKENS = 2048


class Reuse(ABC):
    """A way to read prompts and to go on token by token.

    Attributes:
        description: for people, what is reused.
    """

    description: ClassVar[str]

    @abstractmethod
    def start(
        self, prompts: Sequence[Sequence[int]], batch: Sequence[int], pass_cost: float
    ) -> Iterator[Rows]:
        """Read some prompts.

        Args:
            prompts: token ids.
            batch: which of them.
            pass_cost: how many tokens sharing must spare, see `merge_cheap_prefixes`.

        Yields:
            Rows that are answered together. Each is to be used up before the next is asked for.
        """


def of_one_length(
    prompts: Sequence[Sequence[int]], batch: Sequence[int], tokens: int = PREFILL_TOKENS
) -> Iterator[list[int]]:
    """The prompts of a batch in groups of one length and at most so many tokens, or of one."""
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
    """Where prompts leave what they share with others, as far as sharing pays.

    Args:
        prompts: token ids.
        pass_cost: how many tokens sharing must spare, see `merge_cheap_prefixes`.

    Yields:
        The nodes of what is shared, their tokens, and the prompts that go on alone from there. What
        lies on one way down the tree is neighbours.
    """
    root = radix_tree(prompts)
    merge_cheap_prefixes(root, pass_cost)
    for node, path in (root, ()), *root.ancestry():
        # A prompt has at least one token of its own: its last one is read for its logits.
        members = [index for child in node.children for index in child.ends]
        if members:
            yield path, node.start + len(node.tokens), members
