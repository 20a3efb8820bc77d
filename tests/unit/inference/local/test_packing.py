"""Texts in one row keep apart what is theirs, and attend as each would alone."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from luthier.inference.local.branching_cache import tokens_held
from luthier.inference.local.layouts import packed_attention
from luthier.inference.local.layouts.packed_attention import _attend
from luthier.inference.local.layouts.packing import PackedCache, Packing, Run, cut_in_order

HEADS, SHARED_HEADS, WIDTH = 4, 2, 8


class Layer(torch.nn.Module):
    layer_idx = 0


@given(st.lists(st.integers(1, 20), max_size=30), st.integers(1, 60))
def test_rows_are_filled_in_order(lengths: list[int], tokens: int) -> None:
    rows = cut_in_order(lengths, tokens)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    for row, following in pairwise(rows):
        filled = sum(lengths[index] for index in row)
        assert filled + lengths[following[0]] > tokens
    assert all(sum(lengths[i] for i in row) <= tokens or len(row) == 1 for row in rows)
    in_order = [lengths[index] for row in rows for index in row]
    assert in_order == sorted(lengths, reverse=True)


def test_a_packing_knows_positions_and_what_is_continued() -> None:
    root = Packing((5,))
    middle = Packing((2, 3), (0, 0), root)
    leaves = Packing((1, 2, 1), (0, 0, 1), middle)
    assert leaves.starts == (7, 7, 8)
    assert leaves.positions.tolist() == [7, 7, 8, 8]
    assert leaves.runs == (
        (Run(slice(0, 3), slice(0, 2)), Run(slice(3, 4), slice(2, 5))),
        (Run(slice(0, 4), slice(0, 5)),),
    )
    assert (root.runs, root.total, leaves.total) == ((), 5, 4)


@pytest.mark.parametrize("lengths", [(4,), (3, 3), (5, 1, 2)])
def test_rows_apart_hold_each_text_and_come_together_again(lengths: tuple[int, ...]) -> None:
    packing = Packing(lengths)
    states = torch.randn(1, 2, sum(lengths), 3)
    apart = packing.apart(states)
    for row, (start, end) in enumerate(pairwise(accumulate(lengths, initial=0))):
        assert torch.equal(apart[row, :, : end - start], states[0, :, start:end])
    assert torch.equal(packing.together(apart), states)
    assert torch.equal(packing.together(apart[..., 0]), states[..., 0])


def attended(packed: PackedCache, states: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    query, key, value = states
    packed.update(key, value, 0)
    mean, _ = _attend(Layer(), query, key, value, None, packed=packed)
    return mean[0]


@pytest.mark.parametrize("short", [0, 64], ids=["each by itself", "all at once"])
def test_each_text_attends_as_it_would_alone(short: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_attention, "_SHORT", short)
    torch.manual_seed(0)
    packings = [Packing((6,))]
    packings.append(Packing((3, 5), (0, 0), packings[0]))
    packings.append(Packing((4, 2, 7), (0, 1, 1), packings[1]))
    cache, found, seen = PackedCache(), Tensor(), []
    for packing in packings:
        cache = PackedCache(packing, cache)
        heads = (HEADS, SHARED_HEADS, SHARED_HEADS)
        query, key, value = (torch.randn(1, n, packing.total, WIDTH) for n in heads)
        seen.append((query, key, value))
        found = attended(cache, (query, key, value))
    assert tokens_held(cache) == 6 + 8 + 13
    for text, path in enumerate([(0, 0), (0, 1), (0, 1)]):
        places = [p.parts[i] for p, i in zip(packings, (*path, text), strict=True)]
        alone = [
            torch.cat([s[part][:, :, at] for s, at in zip(seen, places, strict=True)], dim=2)
            for part in range(3)
        ]
        whole = scaled_dot_product_attention(*alone, is_causal=True, enable_gqa=True)
        own = packings[2].parts[text]
        expected = whole[0, :, -(own.stop - own.start) :].transpose(0, 1)
        torch.testing.assert_close(found[own], expected, rtol=0, atol=1e-6)


def test_weights_that_underflow_leave_the_sum_of_exponentials_finite() -> None:
    """The first of two keys weighs nothing beside the second."""
    query = torch.tensor([0.0, 1.0, 1.0])[:, None].repeat(1, 2, 1, 4)
    key = torch.tensor([-300.0, 300.0, 300.0])[:, None].repeat(1, 2, 1, 4)
    value = torch.randn(1, 2, 3, 4)
    ways = (packed_attention._over_all, packed_attention._over_each)
    one, other = (way(query, key, value, Packing((3,)), 1.0) for way in ways)
    assert one.log_sum_BHT[0, 0].tolist() == pytest.approx([0.0, 1200.0, 1200.0 + math.log(2)])
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_other_attention_is_refused() -> None:
    states = [torch.zeros(1, 2, 3, 4)] * 3
    with pytest.raises(NotImplementedError, match="without a cache"):
        _attend(Layer(), *states, None)
    cache = PackedCache(Packing((3,)), PackedCache())
    cache.update(*states[1:], 0)
    with pytest.raises(NotImplementedError, match="sliding_window"):
        _attend(Layer(), *states, None, packed=cache, sliding_window=4)
