from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from luthier.data.batches import BatchOrder, micro_batches, packed_rows

LENGTHS = st.lists(st.integers(1, 500), max_size=40)


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 99), st.integers(0, 3))
def test_an_epoch_takes_every_example_once(number: int, size: int, seed: int, epoch: int) -> None:
    order = BatchOrder(number, size, seed)
    first = epoch * order.steps_per_epoch
    steps = [order.step(first + step) for step in range(order.steps_per_epoch)]
    assert sorted(index for step in steps for index in step) == list(range(number))
    assert all(0 < len(step) <= size for step in steps)


def test_epochs_and_seeds_differ_and_steps_repeat() -> None:
    order = BatchOrder(1000, 1000, seed=1)
    assert order.step(0) != order.step(1)
    assert order.step(0) != BatchOrder(1000, 1000, seed=2).step(0)
    assert order.step(7) == BatchOrder(1000, 1000, seed=1).step(7)


def test_part_of_an_epoch() -> None:
    order = BatchOrder(100, 10, seed=0)
    assert [order.total_steps(epochs) for epochs in (0.01, 0.5, 1, 2.5)] == [1, 5, 10, 25]


@given(LENGTHS, st.integers(1, 2000), st.floats(0, 0.9))
def test_a_cut_keeps_its_limits(lengths: list[int], tokens: int, max_padding: float) -> None:
    cuts = micro_batches(lengths, tokens=tokens, max_padding=max_padding)
    assert sorted(index for cut in cuts for index in cut) == list(range(len(lengths)))
    for cut in cuts:
        width = max(lengths[index] for index in cut)
        real = sum(lengths[index] for index in cut)
        assert len(cut) == 1 or len(cut) * width <= tokens
        assert len(cut) == 1 or real >= (1 - max_padding) * len(cut) * width
    widths = [max(lengths[index] for index in cut) for cut in cuts]
    assert widths == sorted(widths, reverse=True)


@given(LENGTHS, st.integers(1, 2000))
def test_packed_rows_keep_their_limit_and_are_few(lengths: list[int], tokens: int) -> None:
    rows = packed_rows(lengths, tokens=tokens)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    filled = [sum(lengths[index] for index in row) for row in rows]
    assert all(len(row) == 1 or size <= tokens for row, size in zip(rows, filled, strict=True))
    # No two rows would fit into one.
    assert all(one + other > tokens for one, other in pairwise(filled))
