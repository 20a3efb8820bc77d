"""The key/value cache with room to grow holds what transformers' own cache holds."""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from luthier.inference.local.cache import Part, merge_caches, preallocated_cache, repeat_cache


def states(rows: int, length: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    keys, values = torch.randn(2, rows, 2, length, 4, generator=generator)
    return keys, values


def fill(cache: Any, rows: int, lengths: list[int], layers: int = 2) -> Any:
    for part, length in enumerate(lengths):
        for layer in range(layers):
            cache.update(*states(rows, length, 10 * part + layer), layer)
    return cache


def assert_same(one: Any, other: Any) -> None:
    assert one.get_seq_length() == other.get_seq_length()
    assert len(one.layers) == len(other.layers) > 0
    for mine, theirs in zip(one.layers, other.layers, strict=True):
        assert torch.equal(mine.keys, theirs.keys)
        assert torch.equal(mine.values, theirs.values)


def test_tokens_are_added_in_place_and_beyond_the_room() -> None:
    lengths = [5, *[1] * 70, 90, 1]
    assert_same(fill(preallocated_cache(), 3, lengths), fill(DynamicCache(), 3, lengths))


def test_rows_are_selected_reordered_and_doubled() -> None:
    ours, theirs = (fill(cache, 3, [5, 1]) for cache in (preallocated_cache(), DynamicCache()))
    for rows in ([2, 0], [1, 1, 0]):
        for cache in (ours, theirs):
            cache.batch_select_indices(torch.tensor(rows))
            fill(cache, len(rows), [1, 1])
        assert_same(ours, theirs)


def test_a_row_is_cut_back_repeated_and_stays_as_it_was() -> None:
    cache, whole, short = (
        fill(preallocated_cache(), 1, lengths) for lengths in ([5, 3], [5, 3], [5])
    )
    rows = fill(repeat_cache(cache, 3), 3, [4])
    assert_same(cache, whole)
    cache.crop(-3)
    assert_same(cache, short)
    fill(cache, 1, [2])
    for repeated, layer, number in zip(rows.layers, whole.layers, range(2), strict=True):
        keys, values = states(3, 4, number)
        assert torch.equal(repeated.keys, torch.cat([layer.keys.expand(3, -1, -1, -1), keys], 2))
        assert torch.equal(repeated.values[:, :, 8:], values)
    assert repeat_cache(preallocated_cache(), 2).get_seq_length() == 0


def test_caches_of_unequal_length_are_merged_on_the_right() -> None:
    long, short = fill(preallocated_cache(), 2, [5]), fill(preallocated_cache(), 1, [3])
    merged = merge_caches([Part(long, slice(0, 2), 5), Part(short, slice(0, 1), 3)])
    assert merged.get_seq_length() == 5
    for layer, (one, other) in enumerate(zip(long.layers, short.layers, strict=True)):
        keys = merged.layers[layer].keys
        assert keys.shape == (3, 2, 5, 4)
        assert torch.equal(keys[:2], one.keys)
        assert torch.equal(keys[2:, :, 2:], other.keys)
        assert not keys[2:, :, :2].any()
    new_keys, new_values = states(3, 1, 3)
    merged.update(new_keys, new_values, 0)
    assert torch.equal(merged.layers[0].keys[:, :, -1:], new_keys)
    assert torch.equal(merged.layers[0].values[:2, :, :5], long.layers[0].values)
