"""What requests share, and rectangles of tokens."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from luthier.inference.padding import pad
from luthier.inference.prefix import shared_prefix

sequences = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=2, max_size=5)


@pytest.mark.parametrize(
    ("prompts", "prefix"),
    [
        ([], ()),
        ([[1, 2, 3]], ()),
        ([[1, 2, 3], [1, 2, 4]], (1, 2)),
        ([[1, 2], [1, 2, 4]], (1,)),
        ([[1, 2], [1, 2]], (1,)),
        ([[1], [2]], ()),
        ([[7], [7, 8]], ()),
    ],
)
def test_the_shared_prefix(prompts: list[list[int]], prefix: tuple[int, ...]) -> None:
    assert shared_prefix(prompts) == prefix


@given(sequences)
def test_the_prefix_is_shared_leaves_a_token_and_is_the_longest(prompts: list[list[int]]) -> None:
    prefix = list(shared_prefix(prompts))
    longer = len(prefix) + 1
    assert all(ids[: len(prefix)] == prefix and len(ids) > len(prefix) for ids in prompts)
    assert len({tuple(ids[:longer]) for ids in prompts}) > 1 or min(map(len, prompts)) == longer


def test_padding_on_either_side() -> None:
    left, mask = pad([[1, 2, 3], [4]], torch.device("cpu"), "left")
    assert left.tolist() == [[1, 2, 3], [0, 0, 4]]
    assert mask.tolist() == [[True] * 3, [False, False, True]]
    right, mask = pad([[1, 2, 3], [4]], torch.device("cpu"), "right")
    assert right.tolist() == [[1, 2, 3], [4, 0, 0]]
    assert mask.tolist() == [[True] * 3, [True, False, False]]
    assert right.dtype == torch.int64
