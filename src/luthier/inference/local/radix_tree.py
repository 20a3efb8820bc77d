"""Sequences of tokens as a radix tree: what they begin with alike stands in it once.

A forward pass over a node continues the key/value cache of its parent, so that a shared prefix is
computed once, as in SGLang (Zheng et al. 2023, arXiv 2312.07104, section 3).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

Tokens = tuple[int, ...]


@dataclass(slots=True, eq=False)
class Node:
    """Tokens that stand after those of its ancestors.

    Attributes:
        start: how many tokens the ancestors hold together.
        tokens: its own; none at the root.
        children: what follows, each in another way.
        ends: indices of the sequences whose last token is here.
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
    """The tree of some sequences, none of them empty; equal ones end in one node."""
    root = Node(0, ())
    order = sorted(range(len(sequences)), key=sequences.__getitem__)
    # Sequences in lexicographic order that agree in the tokens down to the end of a node.
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
    """How many tokens two sequences begin with alike."""
    # Comparing slices is a loop in C, so halving beats a loop over tokens.
    limit = min(len(one), len(other))
    return bisect_left(range(1, limit + 1), True, key=lambda n: one[:n] != other[:n])


def merge_cheap_prefixes(root: Node, pass_cost: float, node_cost: float | None = None) -> None:
    """Give the tokens of a node back to its children where sharing them does not pay.

    A node spares all its children but one the computation of its tokens. It costs something of its
    own, and the pass that it shares with its siblings. Where a child takes over, it takes what ends
    in the node too.

    Args:
        root: the tree; it is changed.
        pass_cost: how many tokens could be computed in the time that one more pass takes.
        node_cost: the same of one more node in a pass; None: each makes a pass of its own.
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
    """Tokens that need not be computed because its children share them."""
    return (len(node.children) - 1) * len(node.tokens)


def _given_back(node: Node) -> list[Node]:
    """The children of a node, with its tokens and what ends in it."""
    for child in node.children:
        child.start, child.tokens = node.start, node.tokens + child.tokens
    node.children[0].ends.extend(node.ends)
    return node.children


def split_long_nodes(root: Node, most: int) -> None:
    """Cut nodes of more than ``most`` tokens into chains of about equal ones."""
    for node in list(root.descendants()):
        length = len(node.tokens)
        pieces = -(-length // most)
        for piece in range(pieces - 1, 0, -1):
            cut = piece * length // pieces
            rest = Node(node.start + cut, node.tokens[cut:], node.children, node.ends)
            node.tokens, node.children, node.ends = node.tokens[:cut], [rest], []
