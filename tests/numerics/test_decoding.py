"""Greedy decoding and beam search are transformers' own, token for token; so is what is sampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tests.decoding import our_answers, prompts_of, that_ends, transformers_answers
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from luthier.config import Beam, Greedy, Sampling
from luthier.inference import Generation
from luthier.inference.local.decoding.sampling import filter_logits

MODELS = ("tiny_llama", "tiny_gpt2", "tiny_t5")
BEAMS = [
    Beam(num_beams=2),
    Beam(num_beams=4, length_penalty=2.0),
    Beam(num_beams=3, length_penalty=-1.0),
    Beam(num_beams=3, early_stopping=True),
    Beam(num_beams=3, early_stopping="never"),
    Beam(num_beams=4, early_stopping="never", length_penalty=0.0),
]


@pytest.fixture(params=MODELS)
def loaded(request: pytest.FixtureRequest, load_lively: Any) -> Any:
    """A random model, some of whose answers end: its end token is likely."""
    return that_ends(load_lively(request.getfixturevalue(request.param)))


def assert_equal_and_telling(ours: Sequence[Generation], theirs: Sequence[tuple[int, ...]]) -> None:
    assert [answer.ids for answer in ours] == theirs
    assert len(set(theirs)) > 3
    assert {answer.finish for answer in ours} == {"stop", "length"}


def test_greedy_answers_are_transformers_own(loaded: Any) -> None:
    prompts = prompts_of(loaded)
    assert_equal_and_telling(
        our_answers(loaded, prompts, Greedy()), transformers_answers(loaded, prompts)
    )


@pytest.mark.sample(5)
@pytest.mark.parametrize("beam", BEAMS, ids=str)
def test_beam_answers_are_transformers_own(loaded: Any, beam: Beam) -> None:
    prompts = prompts_of(loaded)
    settings = beam.model_dump(exclude={"strategy"})
    ours = our_answers(loaded, prompts, beam)
    assert [answer.ids for answer in ours] == transformers_answers(loaded, prompts, **settings)
    assert ours != our_answers(loaded, prompts, Greedy())
    for batch_tokens in (1, 600):
        assert our_answers(loaded, prompts, beam, batch_tokens) == ours


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.7),
        Sampling(top_k=5),
        Sampling(top_k=10**6, temperature=2.0),
        Sampling(top_p=0.8),
        Sampling(top_p=0.01),
        Sampling(min_p=0.3),
        Sampling(temperature=1.5, top_k=20, top_p=0.9, min_p=0.05),
    ],
    ids=str,
)
def test_the_distribution_is_that_of_transformers_processors(sampling: Sampling) -> None:
    torch.manual_seed(0)
    logits_BV = 3 * torch.randn(16, 200)
    logits_BV[0, :50] = logits_BV[0, 0]  # ties
    processors = LogitsProcessorList([TemperatureLogitsWarper(sampling.temperature)])
    if sampling.top_k is not None:
        processors.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        processors.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p > 0:
        processors.append(MinPLogitsWarper(sampling.min_p))
    expected_BV = processors(torch.zeros(16, 1, dtype=torch.long), logits_BV.clone())
    assert torch.equal(filter_logits(logits_BV, sampling), expected_BV)


def test_sampled_answers_do_not_depend_on_the_batch(loaded: Any) -> None:
    prompts = prompts_of(loaded)
    sampling = Sampling(temperature=1.5, top_k=30)
    whole = our_answers(loaded, prompts, sampling)
    for batch_tokens in (1, 150):
        assert our_answers(loaded, prompts, sampling, batch_tokens) == whole
    assert our_answers(loaded, prompts[::-1], sampling) == whole[::-1]
    assert our_answers(loaded, prompts[2:5], sampling) == whole[2:5]
    other = our_answers(loaded, prompts, sampling.model_copy(update={"seed": 1}))
    assert sum(one == two for one, two in zip(whole, other, strict=True)) < len(whole) / 2


def test_little_temperature_and_one_candidate_are_greedy(loaded: Any) -> None:
    prompts = prompts_of(loaded)
    greedy = our_answers(loaded, prompts, Greedy())
    for sampling in (Sampling(temperature=1e-6), Sampling(top_k=1), Sampling(top_p=1e-9)):
        assert our_answers(loaded, prompts, sampling) == greedy
