"""Prompts are answered beside those that they share much with, and else beside those as long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.config import Beam, Decoding
from luthier.core.errors import UsageError
from luthier.inference.grouping import generation_batches

TEN = Decoding(max_new_tokens=10)
prompt_lists = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=40), max_size=12)


def test_unlike_prompts_are_grouped_by_length() -> None:
    prompts = [[number] * length for number, length in enumerate([5, 20, 20, 1, 30])]
    assert generation_batches(prompts, TEN, 80) == [[4, 1], [2, 0], [3]]
    assert generation_batches(prompts, TEN, 1) == [[4], [1], [2], [0], [3]]


def test_the_questions_of_a_passage_are_neighbours() -> None:
    passages = [[number] * 50 for number in (1, 2, 3)]
    prompts = [[*passage, 10 + question] for question in range(3) for passage in passages]
    prompts += [[4] * 60]
    batches = generation_batches(prompts, TEN, 61 * 3)
    assert batches[0][0] == 9  # the longest first
    assert [9, *[i for start in range(3) for i in (start, start + 3, start + 6)]] == [
        index for batch in batches for index in batch
    ]


def test_beams_take_room() -> None:
    prompts = [[number] * 10 for number in range(8)]
    decoding = Decoding(max_new_tokens=10, strategy=Beam(num_beams=2))
    assert [len(batch) for batch in generation_batches(prompts, decoding, 160)] == [4, 4]


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(UsageError, match="no tokens") as caught:
        generation_batches([[1], []], TEN, 100)
    assert caught.value.where == "prompt 1"
    assert generation_batches([], TEN, 100) == []


@given(prompt_lists, st.integers(1, 300))
def test_every_prompt_is_in_one_batch_which_fits_and_stays(
    prompts: list[list[int]], tokens: int
) -> None:
    batches = generation_batches(prompts, TEN, tokens)
    assert sorted(i for batch in batches for i in batch) == list(range(len(prompts)))
    for batch in batches:
        width = max(len(prompts[i]) for i in batch) + 10
        assert len(batch) == 1 or len(batch) * width <= tokens
        again = generation_batches([prompts[i] for i in batch], TEN, tokens)
        assert len(again) == 1
