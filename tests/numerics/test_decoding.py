"""Greedy decoding and beam search are transformers' own, token for token; so is what is sampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from luthier.config import Beam, Decoding, Greedy, Sampling, Strategy
from luthier.inference import Generation
from luthier.inference.decoding.sampling import filter_logits
from luthier.inference.local import LocalEngine

MODELS = ("tiny_llama", "tiny_gpt2", "tiny_t5")
NEW_TOKENS = 10
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
    loaded = load_lively(request.getfixturevalue(request.param))
    old = loaded.model.lm_head
    torch.manual_seed(1)
    with torch.no_grad():  # an output layer with a bias for the end, and few other words
        head = torch.nn.Linear(old.in_features, old.out_features)
        # T5 makes what comes before it small.
        head.weight.normal_(std=0.5 if loaded.is_encoder_decoder else old.in_features**-0.5)
        head.bias.zero_()[40:] = -20.0
        head.bias[loaded.tokenizer.eos_token_id] = 1.0
    loaded.model.lm_head = head
    return loaded


def prompts_of(loaded: Any) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    lengths = (7, 1, 30, 12, 13, 3, 30, 2)
    prompts = [torch.randint(5, 900, (n,), generator=generator).tolist() for n in lengths]
    shared = torch.randint(5, 900, (40,), generator=generator).tolist()
    ending = [loaded.tokenizer.eos_token_id] if loaded.is_encoder_decoder else []
    return [[*ids, *ending] for ids in (*prompts, *([*shared, *ids] for ids in prompts[:4]))]


def transformers_answers(
    loaded: Any, prompts: Sequence[Sequence[int]], **settings: Any
) -> list[tuple[int, ...]]:
    """What transformers' ``generate`` adds to each prompt, without the end."""
    answers = []
    for prompt in prompts:
        ids_1T = torch.tensor([prompt])
        with torch.inference_mode():
            output = loaded.model.generate(
                input_ids=ids_1T,
                attention_mask=torch.ones_like(ids_1T),
                max_new_tokens=NEW_TOKENS,
                pad_token_id=0,
                do_sample=False,
                **settings,
            )[0].tolist()
        new = output[1:] if loaded.is_encoder_decoder else output[len(prompt) :]
        end = loaded.tokenizer.eos_token_id
        answers.append(tuple(new[: new.index(end)] if end in new else new))
    return answers


def our_answers(
    loaded: Any, prompts: Sequence[Sequence[int]], strategy: Strategy, batch_tokens: int = 4096
) -> list[Generation]:
    decoding = Decoding(max_new_tokens=NEW_TOKENS, strategy=strategy)
    return LocalEngine(loaded, batch_tokens).generate(prompts, decoding)


def assert_equal_and_telling(ours: Sequence[Generation], theirs: Sequence[tuple[int, ...]]) -> None:
    assert [answer.ids for answer in ours] == theirs
    assert len(set(theirs)) > 3
    assert {answer.finish for answer in ours} == {"stop", "length"}


def test_greedy_answers_are_transformers_own(loaded: Any) -> None:
    prompts = prompts_of(loaded)
    assert_equal_and_telling(
        our_answers(loaded, prompts, Greedy()), transformers_answers(loaded, prompts)
    )


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
