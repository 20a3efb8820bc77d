"""Every family of models that transformers can build answers and scores as it does by itself.

The reference is a pass over the whole text of one prompt for each token, without a cache.
"""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import pytest
import torch
from tests.families import (
    COMMON,
    ENCODER_DECODERS,
    OTHER,
    OTHER_ENCODER_DECODERS,
    PAGE,
    family,
    page,
    row,
)

from luthier.config import Beam, Decoding, MethodsConfig, Sampling
from luthier.core.errors import DataError, UsageError
from luthier.core.method_facts import MethodName
from luthier.core.seeds import derive
from luthier.inference.engine import ScoreRequest, ignore_progress
from luthier.inference.local.budget import Budget
from luthier.inference.local.causal_scorer import CausalScorer
from luthier.inference.local.decoding.sampling import draw, filter_logits
from luthier.inference.local.encoder_decoder_scorer import EncoderDecoderScorer
from luthier.inference.local.engine import LocalEngine
from luthier.methods import method_for
from luthier.models.forward import without_cache
from luthier.models.load import LoadedModel

NEW_TOKENS = 5
SAMPLING = Sampling(temperature=1.0, seed=3)
# These need the token of each vector, or do not keep keys and values only, of one shape.
NO_SOFT_PROMPT = {
    "prompt-tuning": {"gemma4_text"},
    "prefix-tuning": {
        *("qwen2", "qwen3", "qwen3_next", "gpt_oss", "olmo3", "cohere2", "deepseek_v3", "mamba"),
        *("mamba2", "falcon_mamba", "falcon_h1", "rwkv", "jamba", "bamba", "zamba2", "nemotron_h"),
        *("minimax", "lfm2", "xlstm", "xlnet", "gemma2", "gemma3_text", "gemma4_text"),
        *("recurrent_gemma",),
    },
}
# The same of encoder-decoder models.
NO_PREFIX_FOR_DECODER = {"prophetnet"}


def _prompts() -> list[tuple[int, ...]]:
    """Some share a beginning that is longer than every window, and end in unequal lengths.

    The padding, the beginning and the end of a text may stand within it (transformers#25790).
    """
    draw = random.Random(1)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(10, 120) for _ in range(count))

    shots = (*ids(14), 0, 2, 1, *ids(13))
    return [*(shots + ids(count) for count in (9, 1, 10, 9)), ids(3), (*ids(12), 0, 0, *ids(7))]


PROMPTS = _prompts()
DEFAULT = [
    *(pytest.param(kind, False, id=kind) for kind in COMMON),
    *(pytest.param(kind, True, id=f"{kind}-encoder") for kind in ENCODER_DECODERS),
]
CASES = [
    *DEFAULT,
    *(pytest.param(kind, False, id=kind, marks=pytest.mark.long) for kind in OTHER),
    *(
        pytest.param(kind, True, id=f"{kind}-encoder", marks=pytest.mark.long)
        for kind in OTHER_ENCODER_DECODERS
    ),
]

pytestmark = pytest.mark.usefixtures("one_thread")


def next_logits(loaded: LoadedModel, prompt: Any, answer: Any) -> torch.Tensor:
    """By one pass over everything so far."""
    asked, said = list(prompt), list(answer)
    if loaded.is_encoder_decoder:
        inputs = {"input_ids": [asked], "decoder_input_ids": [[0, *said]]}
    else:
        inputs = {"input_ids": [asked + said]}
    with torch.inference_mode():
        ids = {name: torch.tensor(value) for name, value in inputs.items()}
        output = loaded.model(**ids, **without_cache(loaded.model))
    logits_V: torch.Tensor = output.logits[0, -1]
    return logits_V


def answers(loaded: LoadedModel, choose: Any) -> list[tuple[int, ...]]:
    """Answers by passes over whole texts; the token that ends a turn is not part of them."""
    made = []
    for index, prompt in enumerate(PROMPTS):
        answer: list[int] = []
        while len(answer) < NEW_TOKENS:
            token = choose(next_logits(loaded, prompt, answer), index, len(answer))
            if token == loaded.model.generation_config.eos_token_id:
                break
            answer.append(token)
        made.append(tuple(answer))
    return made


def adapted_at_random(loaded: LoadedModel, method: MethodName) -> LoadedModel:
    """The model with what a method trains, changed."""
    model = method_for(method, MethodsConfig()).prepare(loaded).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.5)
    return LoadedModel(model, loaded.tokenizer, loaded.stamp, loaded.device)


def greedy(logits_V: torch.Tensor, *_: int) -> int:
    return int(logits_V.argmax())


def drawn(logits_V: torch.Tensor, index: int, position: int) -> int:
    """The draw of one prompt by itself."""
    seed = derive(SAMPLING.seed, " ".join(map(str, PROMPTS[index])))
    return int(draw(filter_logits(logits_V[None], SAMPLING), [derive(seed, position)]))


def refused(kind: str, encoder_decoder: bool) -> bool:
    return "refused:" in _row(kind, encoder_decoder)


@cache
def _row(kind: str, encoder_decoder: bool) -> str:
    return row(_family(kind, encoder_decoder))


@cache
def _family(kind: str, encoder_decoder: bool) -> LoadedModel:
    return family(kind, encoder_decoder=encoder_decoder)


@pytest.mark.sample(8)
@pytest.mark.parametrize(("kind", "encoder_decoder"), CASES)
def test_answers_are_those_of_whole_texts_or_the_model_is_refused(
    kind: str, encoder_decoder: bool
) -> None:
    loaded = _family(kind, encoder_decoder)
    decoding = Decoding(max_new_tokens=NEW_TOKENS)
    if refused(kind, encoder_decoder):
        for ask in (LocalEngine(loaded).generate, LocalEngine(loaded).losses):
            arguments = (PROMPTS, decoding) if ask.__name__ == "generate" else (PROMPTS,)
            with pytest.raises(DataError, match="models cannot be used here"):
                ask(*arguments)
        return
    one, other = (next_logits(loaded, PROMPTS[index], ()) for index in (0, 4))
    assert float((one - other).abs().max()) > 0.01  # prompts matter
    check_answers(loaded, answers(loaded, greedy), answers(loaded, drawn))


@pytest.mark.sample(8)
@pytest.mark.parametrize(("kind", "encoder_decoder"), CASES)
def test_scores_are_those_of_whole_texts(kind: str, encoder_decoder: bool) -> None:
    loaded = _family(kind, encoder_decoder)
    if refused(kind, encoder_decoder):
        return  # the test above shows that it is
    check_scores(loaded)


def check_answers(loaded: LoadedModel, greedily: Any, by_chance: Any = None) -> None:
    """Batches of every size say the same."""
    sampled = Decoding(max_new_tokens=NEW_TOKENS, strategy=SAMPLING)
    for batch_tokens in (4096, 100, 1):
        engine = LocalEngine(loaded, batch_tokens)
        found = engine.generate(PROMPTS, Decoding(max_new_tokens=NEW_TOKENS))
        assert [each.ids for each in found] == greedily
        if by_chance is not None:
            assert [each.ids for each in engine.generate(PROMPTS, sampled)] == by_chance


def check_scores(loaded: LoadedModel) -> None:
    """Passes of every size give the log-probabilities of whole texts."""
    requests = [
        ScoreRequest(prompt, continuation)
        for prompt in PROMPTS
        for continuation in ((17, 18, 19), (17,))
    ]
    scorer = EncoderDecoderScorer if loaded.is_encoder_decoder else CausalScorer
    for budget in (Budget(4096, 1024), Budget(64, 16)):
        with torch.inference_mode():
            found = scorer(loaded, budget).score(requests, ignore_progress)
        for request, score in zip(requests, found, strict=True):
            logprob = 0.0
            for end, token in enumerate(request.continuation):
                logits_V = next_logits(loaded, request.context, request.continuation[:end])
                logprob += float(logits_V.float().log_softmax(-1)[token])
            assert score.logprob == pytest.approx(logprob, abs=3e-5)


BEAMS = ("llama", "gemma2", "llama4_text", "mamba", "qwen3_next", "minimax", "rwkv", "xlstm")


@pytest.mark.sample(2)
@pytest.mark.parametrize("kind", BEAMS)
def test_beams_do_not_depend_on_the_batch(kind: str) -> None:
    loaded = _family(kind, False)
    decoding = Decoding(max_new_tokens=4, strategy=Beam(num_beams=3))
    together = LocalEngine(loaded, 4096).generate(PROMPTS, decoding)
    alone = [LocalEngine(loaded, 1).generate([prompt], decoding)[0] for prompt in PROMPTS]
    assert together == alone


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2", "lfm2", "qwen3_next", "bloom"])
def test_adapters_answer_as_peft_does(kind: str) -> None:
    loaded = family.__wrapped__(kind)  # one of its own: an adapter changes it
    adapted = adapted_at_random(loaded, "lora")
    expected = answers(adapted, greedy)
    for batch_tokens in (4096, 1):
        found = LocalEngine(adapted, batch_tokens).generate(
            PROMPTS, Decoding(max_new_tokens=NEW_TOKENS)
        )
        assert [each.ids for each in found] == expected


@pytest.mark.sample(10)
@pytest.mark.parametrize("method", NO_SOFT_PROMPT)
@pytest.mark.parametrize(("kind", "encoder_decoder"), DEFAULT)
def test_soft_prompts_answer_as_peft_does_or_are_refused(
    kind: str, encoder_decoder: bool, method: MethodName
) -> None:
    loaded = family.__wrapped__(kind, encoder_decoder=encoder_decoder)
    none = NO_SOFT_PROMPT[method]
    if encoder_decoder:
        none = NO_PREFIX_FOR_DECODER if method == "prefix-tuning" else set()
    if kind in none:
        with pytest.raises(UsageError):
            adapted_at_random(loaded, method)
        return
    adapted = adapted_at_random(loaded, method)
    if refused(kind, encoder_decoder):
        with pytest.raises(DataError, match="models cannot be used here"):
            LocalEngine(adapted).generate(PROMPTS, Decoding(max_new_tokens=1))
        return
    bare, given = (
        next_logits(one, PROMPTS[4], ()) for one in (_family(kind, encoder_decoder), adapted)
    )
    # Llama 4 reads in chunks of 8 tokens, so that a text does not see the 16 before it.
    assert float((bare - given).abs().max()) > 0.01 or kind == "llama4_text"
    check_answers(adapted, answers(adapted, greedy))
    check_scores(adapted)


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_rope_that_follows_the_length_answers_as_each_text_alone(kind: str) -> None:
    rope = {"rope_type": kind, "rope_theta": 10000.0, "factor": 4.0}
    if kind == "longrope":
        rope |= {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
        rope |= {"original_max_position_embeddings": 33}
    window = 33 if kind == "dynamic" else 128

    def model() -> LoadedModel:
        return family.__wrapped__("llama", rope_parameters=rope, max_position_embeddings=window)

    # A model of its own for each: transformers keeps the frequencies of the longest text so far.
    engine = LocalEngine(model(), 4096)
    for _ in range(2):
        found = engine.generate(PROMPTS, Decoding(max_new_tokens=NEW_TOKENS))
        for prompt, each in zip(PROMPTS, found, strict=True):
            fresh, answer = model(), []
            while len(answer) < len(each.ids):
                answer.append(greedy(next_logits(fresh, prompt, answer)))
            assert each.ids == tuple(answer)


@pytest.mark.parametrize(("kind", "encoder_decoder"), CASES)
def test_the_page_says_what_is_reused(kind: str, encoder_decoder: bool) -> None:
    assert _row(kind, encoder_decoder) in PAGE.read_text(encoding="utf-8").splitlines()


@pytest.mark.long
def test_the_page_has_nothing_else() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()
