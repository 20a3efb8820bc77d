"""Passes stay within the budget, and together compute every item once."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.inference.local.budget import BatchLimits, Budget, rectangles
from luthier.inference.local.layouts.packing import cut_in_order

ANYHOW = partial(rectangles, max_padding=1.0)
limits = st.integers(1, 60)


@given(
    st.lists(st.integers(1, 20), max_size=30),
    limits,
    limits,
    st.integers(0, 10),
    st.integers(0, 50),
    st.sampled_from([0.0, 0.1, 1.0]),
)
def test_every_item_is_computed_once_within_the_limits(
    lengths: list[int], cached: int, computed: int, extra: int, held: int, max_padding: float
) -> None:
    found = []
    for batch, result in Budget(cached, computed).passes(
        list(enumerate(lengths)),
        len,
        length=lambda item: item[1],
        cut=partial(rectangles, max_padding=max_padding, extra=extra),
        held=held,
    ):
        assert result == len(batch)
        found += batch
        own = [length for _, length in batch]
        if len(own) > 1:
            assert len(own) * max(own) <= computed
            assert len(own) * (max(own) + extra) <= max(1, cached - held)
            assert sum(own) >= (1 - max_padding) * len(own) * max(own) - 1e-9
    assert sorted(found) == list(enumerate(lengths))


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def compute(_batch: list[int]) -> None:
        raise RuntimeError("something else")

    budget = Budget(100, 100)
    with pytest.raises(RuntimeError, match="something else"):
        list(budget.passes([1, 2], compute, length=lambda n: n, cut=ANYHOW))
    assert budget == Budget(100, 100)


def test_a_lack_of_memory_lowers_the_budget_until_it_suffices() -> None:
    def compute(batch: list[int]) -> int:
        if len(batch) > 3:
            raise MemoryError
        return len(batch)

    budget = Budget(1000, 640)
    sizes = [size for _, size in budget.passes([10] * 64, compute, length=lambda n: n, cut=ANYHOW)]
    assert sum(sizes) == 64
    assert max(sizes) <= 3
    assert budget.computed < 40


def test_what_found_no_memory_is_not_tried_again_as_it_was() -> None:
    tried: list[list[int]] = []

    def compute(batch: list[int]) -> None:
        tried.append(batch)
        if len(batch) > 1:
            raise MemoryError

    def in_order(lengths: list[int], room: BatchLimits) -> list[list[int]]:
        return cut_in_order(lengths, room.computed)

    items = [300, *[1] * 50]  # of very unlike lengths in one row
    list(Budget(10_000, 1024).passes(items, compute, length=lambda n: n, cut=in_order))
    failed = [sum(batch) for batch in tried if len(batch) > 1]
    assert failed == sorted(set(failed), reverse=True)
