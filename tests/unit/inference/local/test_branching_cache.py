"""A cache that branches gives each row what it would have alone, and keeps every token once."""

from __future__ import annotations

import torch
from torch import Tensor

from luthier.inference.local.branching_cache import (
    begin,
    branch,
    select,
    tokens_copied,
    tokens_held,
)

LAYERS = 2


def states(rows: int, length: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    keys, values = torch.randn(2, rows, 3, length, 4, generator=generator)
    return keys, values


def test_rows_continue_the_rows_they_name() -> None:
    root = begin()
    first = [states(1, 5, seed) for seed in range(LAYERS)]
    for index, (keys, values) in enumerate(first):
        assert torch.equal(root.update(keys, values, index)[0], keys)
    middle = branch(root, torch.tensor([0, 0]))
    assert (middle.get_seq_length(), tokens_held(middle)) == (5, 5)
    second = [states(2, 3, 10 + seed) for seed in range(LAYERS)]
    for index, pair in enumerate(second):
        middle.update(*pair, index)
    last = branch(middle, torch.tensor([1, 0, 1]))
    for index in range(LAYERS):
        new = states(3, 2, 20 + index)
        found = last.update(*new, index)
        for part in range(2):
            expected = [
                torch.cat([first[index][part][0], second[index][part][row], new[part][i]], dim=1)
                for i, row in enumerate([1, 0, 1])
            ]
            assert torch.equal(found[part], torch.stack(expected))
    assert last.get_seq_length() == 5 + 3 + 2
    assert tokens_held(last) == 5 + 2 * 3 + 3 * 2
    assert tokens_held(middle) == 5 + 2 * 3
    assert tokens_copied(middle) == 4
    assert tokens_held(None) == tokens_held(begin()) == tokens_copied(begin()) == 0


def test_a_pass_may_be_continued_more_than_once() -> None:
    root = begin()
    keys, values = states(1, 4, 0)
    root.update(keys, values, 0)
    ones = [branch(root, torch.tensor([0])).update(*states(1, 2, seed), 0)[0] for seed in (1, 2)]
    assert all(torch.equal(one[:, :, :4], keys) for one in ones)
    assert not torch.equal(*ones)
    assert root.get_seq_length() == 4


def test_selected_rows_stand_alone() -> None:
    cache = begin()
    pairs = [states(3, 4, seed) for seed in range(LAYERS)]
    for index, pair in enumerate(pairs):
        cache.update(*pair, index)
    selected = select(cache, torch.tensor([2, 2, 0]))
    assert selected.get_seq_length() == 4
    assert torch.equal(selected.layers[1].keys, pairs[1][0][[2, 2, 0]])
    assert torch.equal(selected.layers[0].values, pairs[0][1][[2, 2, 0]])
