"""The key/value cache with room to grow holds what transformers' own cache holds."""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from luthier.inference.cache import merge_caches, roomy_cache


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
    assert_same(fill(roomy_cache(), 3, lengths), fill(DynamicCache(), 3, lengths))


def test_rows_are_repeated_and_selected() -> None:
    ours, theirs = (fill(cache, 2, [5, 1]) for cache in (roomy_cache(), DynamicCache()))
    for cache in (ours, theirs):
        cache.batch_repeat_interleave(2)
        cache.batch_select_indices(torch.tensor([0, 3]))
        fill(cache, 2, [1, 1])
    assert_same(ours, theirs)


def test_a_repeated_cache_does_not_share_its_room() -> None:
    cache = fill(roomy_cache(), 1, [5])
    cache.batch_repeat_interleave(3)
    keys, values = states(3, 1, 7)
    cache.update(keys, values, 0)
    assert torch.equal(cache.layers[0].keys[:, :, -1:], keys)
    assert torch.equal(cache.layers[0].values[:, :, -1:], values)


def test_caches_of_unequal_length_are_merged_on_the_right() -> None:
    long, short = fill(roomy_cache(), 2, [5]), fill(roomy_cache(), 1, [3])
    merged = merge_caches([long, short])
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
