"""A radix tree of token sequences, which holds each shared prefix once.

A forward pass over a node continues the KV cache of its parent, so that a shared prefix is computed
once, as in SGLang (Zheng et al. 2023, arXiv 2312.07104, section 3).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

Tokens = tuple[int, ...]


@dataclass(slots=True, eq=False)
class Node:
    """A node: tokens that follow those of its ancestors.

    Attributes:
        start: the number of tokens of all ancestors together.
        tokens: the node's own tokens; none at the root.
        children: the nodes that continue it, each with a different first token.
        ends: indices of the sequences whose last token is this node's last.
    """

    start: int
    tokens: Tokens
    children: list[Node] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def descendants(self) -> Iterator[Node]:
        """The node and all below it, parents before their children."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))

    def ancestry(self) -> Iterator[tuple[Node, tuple[Node, ...]]]:
        """Every node below this one, with the nodes from its top-level ancestor down to itself."""
        waiting: list[tuple[Node, tuple[Node, ...]]]
        waiting = [(child, (child,)) for child in reversed(self.children)]
        while waiting:
            node, path = waiting.pop()
            yield node, path
            waiting.extend((child, (*path, child)) for child in reversed(node.children))


def radix_tree(sequences: Sequence[Tokens]) -> Node:
    """The radix tree of non-empty sequences; equal sequences end in one node."""
    root = Node(0, ())
    order = sorted(range(len(sequences)), key=sequences.__getitem__)
    # Each node with the sequences that continue it, in lexicographic order.
    waiting = [(root, order)]
    while waiting:
        parent, longer = waiting.pop()
        depth = parent.start + len(parent.tokens)
        for _, alike in groupby(longer, key=lambda index: sequences[index][depth]):
            group = list(alike)
            first, last = sequences[group[0]], sequences[group[-1]]
            end = common_length(first, last)
            node = Node(depth, first[depth:end])
            node.ends = [index for index in group if len(sequences[index]) == end]
            parent.children.append(node)
            if len(node.ends) < len(group):
                waiting.append((node, group[len(node.ends) :]))
    return root


def common_length(one: Tokens, other: Tokens) -> int:
    """The length of the longest common prefix of two sequences."""
    # Comparing slices is a loop in C, so halving beats a loop over tokens.
    limit = min(len(one), len(other))
    return bisect_left(range(1, limit + 1), True, key=lambda n: one[:n] != other[:n])


def merge_cheap_prefixes(root: Node, pass_cost: float, node_cost: float | None = None) -> None:
    """Merge nodes into their children if sharing their tokens does not pay.

    A node saves the computation of its tokens for all of its children but one. It costs its own
    overhead and a part of the pass that it shares with its siblings. The first child of a merged
    node also takes over the sequences that end in the node.

    Args:
        root: the tree; it is changed in place.
        pass_cost: the cost of one more pass, as the number of tokens computed in that time.
        node_cost: the cost of one more node in a pass, likewise; None: each node takes a pass of
            its own.
    """
    least = pass_cost if node_cost is None else node_cost
    for parent in reversed(list(root.descendants())):
        worth = {node for node in parent.children if node.children and _spared(node) >= least}
        if sum(map(_spared, worth)) < pass_cost:
            worth.clear()
        parent.children = [
            child
            for node in parent.children
            for child in ([node] if node in worth or not node.children else _given_back(node))
        ]


def _spared(node: Node) -> int:
    """The number of tokens saved because the node's children share them."""
    return (len(node.children) - 1) * len(node.tokens)


def _given_back(node: Node) -> list[Node]:
    """The children of a node after they take over its tokens and its ends."""
    for child in node.children:
        child.start, child.tokens = node.start, node.tokens + child.tokens
    node.children[0].ends.extend(node.ends)
    return node.children


def split_long_nodes(root: Node, most: int) -> None:
    """Split each node of more than ``most`` tokens into a chain of about equal nodes."""
    for node in list(root.descendants()):
        length = len(node.tokens)
        pieces = -(-length // most)
        for piece in range(pieces - 1, 0, -1):
            cut = piece * length // pieces
            rest = Node(node.start + cut, node.tokens[cut:], node.children, node.ends)
            node.tokens, node.children, node.ends = node.tokens[:cut], [rest], []
