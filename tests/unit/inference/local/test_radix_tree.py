"""The tree holds every sequence, what they share once, and stays so when it is changed."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from luthier.inference.local.radix_tree import (
    Node,
    common_length,
    merge_cheap_prefixes,
    radix_tree,
    split_long_nodes,
)

tokens = st.lists(st.integers(0, 2), min_size=1, max_size=8).map(tuple)
sequences = st.lists(tokens, min_size=1, max_size=12)


def paths(root: Node) -> dict[int, tuple[int, ...]]:
    """What stands on the way to the node where each sequence ends."""
    found: dict[int, tuple[int, ...]] = {}
    for node, path in root.ancestry():
        assert path[-1] is node
        assert node.start == sum(len(above.tokens) for above in path[:-1])
        whole = tuple(itertools.chain.from_iterable(above.tokens for above in path))
        found |= dict.fromkeys(node.ends, whole)
    return found


def size(root: Node) -> int:
    return sum(len(node.tokens) for node in root.descendants())


@given(sequences)
def test_each_sequence_ends_at_its_own_node(given_sequences: list[tuple[int, ...]]) -> None:
    assert paths(radix_tree(given_sequences)) == dict(enumerate(given_sequences))


@given(sequences)
def test_each_shared_token_stands_in_it_once(given_sequences: list[tuple[int, ...]]) -> None:
    root = radix_tree(given_sequences)
    prefixes = {ids[: n + 1] for ids in given_sequences for n in range(len(ids))}
    assert size(root) == len(prefixes)
    for node in root.descendants():
        first_tokens = [child.tokens[0] for child in node.children]
        assert len(set(first_tokens)) == len(first_tokens)
        assert node is root or len(node.children) != 1 or node.ends


@given(sequences, st.integers(0, 12), st.integers(1, 5))
def test_changes_keep_every_sequence_a_beginning_of_its_path(
    given_sequences: list[tuple[int, ...]], pass_cost: int, most: int
) -> None:
    root = radix_tree(given_sequences)
    before = size(root)
    merge_cheap_prefixes(root, pass_cost)
    inner = [node for node in root.descendants() if node.children and node is not root]
    assert all((len(node.children) - 1) * len(node.tokens) >= pass_cost for node in inner)
    assert size(root) >= before
    merged = size(root)
    split_long_nodes(root, most)
    assert size(root) == merged
    assert all(len(node.tokens) <= most for node in root.descendants())
    found = paths(root)
    assert sorted(found) == list(range(len(given_sequences)))
    for index, ids in enumerate(given_sequences):
        assert found[index][: len(ids)] == ids


@given(sequences)
def test_no_sharing_leaves_the_sequences_that_no_other_begins_with(
    given_sequences: list[tuple[int, ...]],
) -> None:
    root = radix_tree(given_sequences)
    merge_cheap_prefixes(root, float("inf"))
    kinds = set(given_sequences)
    longest = {ids for ids in kinds if not any(o[: len(ids)] == ids and o != ids for o in kinds)}
    assert {node.tokens for node in root.children} == longest
    assert not any(node.children for node in root.children)


@given(tokens, tokens)
def test_the_common_length(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    expected = len(list(itertools.takewhile(lambda p: p[0] == p[1], zip(one, other, strict=False))))
    assert common_length(one, other) == expected


def test_a_shared_passage_stays_and_a_shared_word_does_not() -> None:
    passage = tuple(range(100))
    questions = [(*passage, 7, n, n) for n in range(200, 204)]
    root = radix_tree(questions)
    merge_cheap_prefixes(root, 24)
    (shared,) = root.children
    assert shared.tokens == (*passage, 7)
    assert [child.tokens for child in shared.children] == [(n, n) for n in range(200, 204)]
    root = radix_tree([(1, 2, 3), (1, 4, 5)])
    merge_cheap_prefixes(root, 24)
    assert [node.tokens for node in root.children] == [(1, 2, 3), (1, 4, 5)]


def test_short_prefixes_are_worth_a_pass_together() -> None:
    pairs = [(n, n, n, last) for n in range(12) for last in (50, 51)]
    root = radix_tree(pairs)
    merge_cheap_prefixes(root, pass_cost=24, node_cost=2)
    assert [node.tokens for node in root.children] == [(n, n, n) for n in range(12)]
    few = radix_tree(pairs[:14])  # 21 tokens
    merge_cheap_prefixes(few, pass_cost=24, node_cost=2)
    assert [node.tokens for node in few.children] == pairs[:14]
    cheap = radix_tree(pairs)
    merge_cheap_prefixes(cheap, pass_cost=24, node_cost=4)
    assert [node.tokens for node in cheap.children] == pairs


def test_a_tree_as_deep_as_its_sequences_is_no_trouble() -> None:
    steps = [tuple([0] * n + [1]) for n in range(1, 3000)]
    root = radix_tree(steps)
    assert len(paths(root)) == len(steps)
    merge_cheap_prefixes(root, 2)
    assert len(paths(root)) == len(steps)
