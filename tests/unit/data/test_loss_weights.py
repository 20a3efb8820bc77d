"""Weights turn the mean over tokens into one over examples or sources, however a batch is cut."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.data.loss_weights import with_loss_weights
from luthier.data.mixture.account import account
from luthier.data.mixture.order import Sources
from luthier.prompts.training_example import TrainingExample

LENGTHS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 90)), min_size=1, max_size=40)


def example(source: str, trained: int, weight: float = 1.0) -> TrainingExample:
    ids = tuple(range(trained + 3))
    return TrainingExample(
        f"{source}-{trained}", ids, (False,) * 3 + (True,) * trained, 3, (), weight, source=source
    )


def total(examples: tuple[TrainingExample, ...]) -> float:
    return sum(one.weight * one.num_trained for one in examples)


@given(LENGTHS)
def test_each_example_counts_the_same(lengths: list[tuple[str, int]]) -> None:
    given_ = tuple(example(*one) for one in lengths)
    found = with_loss_weights(given_, "example")
    counts = [one.weight * one.num_trained for one in found]
    assert counts == pytest.approx([counts[0]] * len(counts))
    assert total(found) == pytest.approx(total(given_))


@given(LENGTHS)
def test_each_draw_counts_the_same_on_average_over_its_source(
    lengths: list[tuple[str, int]],
) -> None:
    given_ = tuple(example(*one) for one in lengths)
    found = with_loss_weights(given_, "source")
    shares: defaultdict[str, list[float]] = defaultdict(list)
    for one in found:
        shares[one.source].append(one.weight * one.num_trained)
    means = [sum(own) / len(own) for own in shares.values()]
    assert means == pytest.approx([means[0]] * len(means))
    assert total(found) == pytest.approx(total(given_))
    for source in shares:  # within a source tokens still count the same
        assert len({one.weight for one in found if one.source == source}) == 1


def test_tokens_and_given_weights_stay() -> None:
    given_ = (example("a", 5, 2.0), example("a", 10))
    assert with_loss_weights(given_, "token") == given_
    assert with_loss_weights((), "example") == ()
    first, second = with_loss_weights(given_, "example")
    assert first.weight * 5 == pytest.approx(2 * second.weight * 10)
    assert replace(first, weight=2.0) == given_[0]


def test_a_sources_share_of_the_gradient_is_that_of_the_draws() -> None:
    examples = tuple(example("a", 2) for _ in range(6)) + tuple(example("b", 40) for _ in range(3))
    sources = Sources(("a", "b"), (6, 3), (0.7, 0.3), 100)
    plain = account("mix", sources, examples)
    assert [one.gradient for one in plain.sources] == pytest.approx([1.4 / 13.4, 12 / 13.4])
    assert [one.tokens for one in plain.sources] == pytest.approx([3.5 / 16.4, 12.9 / 16.4])
    assert [(one.draws, one.passes) for one in plain.sources] == [
        (70, pytest.approx(70 / 6)),
        (30, 10.0),
    ]
    for by in ("source", "example"):
        weighted = account("mix", sources, with_loss_weights(examples, by))  # type: ignore[arg-type]
        assert [one.gradient for one in weighted.sources] == pytest.approx([0.7, 0.3])
