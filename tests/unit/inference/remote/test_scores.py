"""Echoed log-probabilities, in the forms that servers give them."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.core.errors import DataError
from luthier.inference.engine import TextLoss
from luthier.inference.remote import scores
from luthier.inference.remote.answers import Logprobs


def logprobs(tokens: list[str], offsets: list[int], values: list[float | None]) -> Logprobs:
    return Logprobs(
        tokens=tuple(tokens),
        token_logprobs=tuple(values),
        top_logprobs=tuple(None if v is None else {"x": max(v, -1.0)} for v in values),
        text_offset=tuple(offsets),
    )


PLAIN = logprobs(["ab", " c", "d", "!"], [0, 2, 4, 5], [None, -1.0, -2.0, -9.0])


def test_what_follows_the_cut_counts_and_what_was_generated_does_not() -> None:
    found = scores.pieces("ab cd", PLAIN, "")
    assert scores.score(found, 2, "").logprob == -3.0
    assert scores.score(found, 4, "").logprob == -2.0
    assert scores.score(found, 3, "").logprob == -3.0  # " c" holds a part of it
    assert scores.score(found, 2, "").greedy is False
    assert scores.score(found[:2], 2, "").greedy is True
    assert (scores.loss(found).nats, scores.loss(found).tokens) == (3.0, 2)


def test_the_likeliest_token_of_a_place() -> None:
    found = scores.pieces("ab cd", PLAIN, "")
    assert scores.likeliest(found, 4) == TextLoss(1.0, 1)
    assert scores.likeliest(found, 3) == TextLoss(0.0, 0)  # no token begins there
    assert scores.likeliest(found, 0) == TextLoss(0.0, 0)  # the first is not predicted


def test_what_is_likely_in_one_place_is_the_same() -> None:
    scores.require_same([TextLoss(1.0, 1), TextLoss(1.2, 1), TextLoss(0.0, 0)], "")
    scores.require_same([TextLoss(0.0, 0)], "")
    with pytest.raises(DataError, match="changes with the token"):
        scores.require_same([TextLoss(1.0, 1), TextLoss(0.0, 0), TextLoss(1.3, 1)], "")


@pytest.mark.parametrize("offsets", [[0, 3, 5, 7, 8], [0, 0, 2, 4, 5]])
def test_a_token_that_begins_texts_may_be_counted_as_text(offsets: list[int]) -> None:
    echoed = logprobs(["<s>", "ab", " c", "d", "!"], offsets, [None, -4.0, -1.0, -2.0, -9.0])
    found = scores.pieces("ab cd", echoed, "")
    assert scores.score(found, 2, "").logprob == -3.0
    assert scores.score(found, 0, "").logprob == -7.0  # here the first one is predicted


def test_parts_of_characters_are_placed_by_their_offsets() -> None:
    echoed = logprobs(["a", "bytes:\\xc3", "\ufffd", "b"], [0, 1, 2, 2], [None, -1.0, -2.0, -3.0])
    found = scores.pieces("aéb", echoed, "")
    assert scores.score(found, 1, "").logprob == -6.0


@pytest.mark.parametrize(
    "echoed",
    [
        logprobs(["ab", " c"], [0, 2], [None]),
        logprobs(["ab", " c", "d"], [0, 4, 2], [None, -1.0, -1.0]),
        logprobs(["ab", " x", "d"], [0, 2, 4], [None, -1.0, -1.0]),
        logprobs([], [], []),
    ],
)
def test_tokens_of_another_text_are_refused(echoed: Logprobs) -> None:
    with pytest.raises(DataError, match="not those of the prompt"):
        scores.pieces("ab cd", echoed, "there")


def test_the_first_token_is_not_predicted() -> None:
    with pytest.raises(DataError, match="predicts no first token"):
        scores.score(scores.pieces("ab cd", PLAIN, ""), 0, "")


@pytest.mark.parametrize("place", [1, 2])
def test_a_token_without_a_log_probability_is_refused(place: int) -> None:
    """Some servers write null where a token is impossible; the loss would be too low without it."""
    values: list[float | None] = [None, -1.0, -2.0, -9.0]
    values[place] = None
    echoed = logprobs(["ab", " c", "d", "!"], [0, 2, 4, 5], values)
    with pytest.raises(DataError, match=f"at character {2 * place} has none") as caught:
        scores.pieces("ab cd", echoed, "there")
    assert caught.value.where == "there"


def test_the_first_tokens_may_have_none_where_one_of_them_is_no_text() -> None:
    echoed = logprobs(["<s>", "ab", " c", "d"], [0, 0, 2, 4], [None, None, -1.0, -2.0])
    assert scores.loss(scores.pieces("ab cd", echoed, "")) == TextLoss(3.0, 2)


def test_what_was_generated_may_have_none() -> None:
    echoed = logprobs(["ab", " c", "d", "!"], [0, 2, 4, 5], [None, -1.0, -2.0, None])
    assert scores.loss(scores.pieces("ab cd", echoed, "")) == TextLoss(3.0, 2)


@pytest.mark.parametrize("place", [1, 2])
def test_a_token_that_is_likelier_than_the_likeliest_is_refused(place: int) -> None:
    best = [None, {"x": -1.0}, {"x": -2.0}]
    best[place] = {"x": -5.0}
    echoed = Logprobs(
        tokens=("ab", " c", "d"),
        token_logprobs=(None, -1.0, -2.0),
        top_logprobs=tuple(best),
        text_offset=(0, 2, 4),
    )
    with pytest.raises(DataError, match=f"at character {2 * place} is likelier"):
        scores.pieces("ab cd", echoed, "there")


@pytest.mark.parametrize("value", [0.5, float("nan"), "x"])
def test_what_is_no_log_probability_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="token_logprobs"):
        logprobs(["a", "b"], [0, 1], [None, value]) if isinstance(value, float) else Logprobs(
            tokens=("a",), token_logprobs=(value,), top_logprobs=(None,), text_offset=(0,)
        )
