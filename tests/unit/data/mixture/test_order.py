"""The steps of a mixture are its draws, and replay is a source of it."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from luthier.data.mixture.draws import DrawOrder
from luthier.data.mixture.order import GENERAL, MixtureOrder, Sources, with_replay

DRAWS = DrawOrder((0.6, 0.4), (50, 300), seed=7)


def test_steps_are_the_draws_whatever_the_batch() -> None:
    expected = [(0, 50)[one.source] + one.example for one in islice(DRAWS.draws(), 9000)]
    for size in (1, 7, 16, 300):
        order = MixtureOrder(DRAWS, 900, size)
        found = [index for step in range(9000 // size) for index in order.step(step)]
        assert found == expected[: len(found)]
        assert order.steps_per_epoch == -(-900 // size)
    assert MixtureOrder(DRAWS, 900, 16).total_steps(0.5) == 28
    assert MixtureOrder(DRAWS, 900, 16).num_examples == 350


@given(st.integers(1, 300), st.integers(1, 30), st.floats(0.01, 0.9))
def test_replay_is_a_source_at_its_share(number: int, num: int, share: float) -> None:
    sources = with_replay(number, num, share)
    assert sources is not None
    assert sources.num_general == num
    assert abs(sources.num_replayed - share * sources.num_draws) <= 1
    assert sources.num_draws == number + sources.num_replayed
    order = MixtureOrder(DrawOrder(sources.rates, sources.sizes, 0), sources.num_draws, 8)
    steps = range(order.steps_per_epoch)
    drawn = [index for step in steps for index in order.step(step)][: sources.num_draws]
    own = Counter(index for index in drawn if index < number)
    assert abs(own.total() - number) <= 1
    assert len(own) >= number - 1
    assert max(own.values(), default=1) <= 2


def test_without_general_texts_nothing_is_replayed() -> None:
    assert with_replay(40, 0, 0.5) is None
    sources = Sources(("a", "b"), (10, 30), (0.5, 0.5), 60)
    assert (sources.quotas, sources.num_general, sources.num_replayed) == ((30, 30), 0, 0)
    assert with_replay(40, 9, 0.2) == Sources(("task", GENERAL), (40, 9), (0.8, 0.2), 50)


def test_rates_of_an_order_decide_its_steps() -> None:
    other = MixtureOrder(DrawOrder((0.5, 0.5), (50, 300), seed=7), 900, 16)
    steps = [MixtureOrder(DRAWS, 900, 16).step(step) for step in range(9)]
    assert steps != [other.step(step) for step in range(9)]
    assert steps == [MixtureOrder(DRAWS, 400, 16).step(step) for step in range(9)]
