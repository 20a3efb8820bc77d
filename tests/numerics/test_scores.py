"""Scores are those of a plain forward pass over each request, however they are computed."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM, MambaConfig

from luthier.config import Decoding, MethodsConfig
from luthier.config.yaml import read_yaml
from luthier.core.errors import DataError, UsageError
from luthier.inference import Score, ScoreRequest, ignore_progress
from luthier.inference.local.budget import Budget
from luthier.inference.local.causal_scorer import CausalScorer
from luthier.inference.local.encoder_decoder_scorer import EncoderDecoderScorer
from luthier.inference.local.engine import LocalEngine
from luthier.inference.local.layouts import Joined, Layout, Packed
from luthier.inference.local.scorer import Scorer
from luthier.methods import method_for
from luthier.models.forward import last_feed_forward
from luthier.models.load import LoadedModel
from luthier.records.evaluation import ModelStamp

FAMILIES = {
    name: values
    for name, values in read_yaml(Path(__file__).parents[1] / "small_models.yaml").values.items()
    if name.split()[0] not in {"t5", "mt5"}
}
PLENTY = (4096, 1024)


def few_shot_requests() -> list[ScoreRequest]:
    """Two subjects with shots, their questions with letters or words as choices, and single ones.

    Tokens are below 60, so that every small model knows them; the longest request has 50.
    """
    draw = random.Random(0)
    requests = []

    def ids(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(5, 60) for _ in range(count))

    for shots in (ids(30), ids(26)):
        for question in (ids(9), ids(6), ids(9)):
            requests += [ScoreRequest(shots + question, (letter,)) for letter in (7, 8, 9)]
        passage = shots + ids(8)
        choices = (ids(4), ids(1), ids(7))
        requests += [ScoreRequest(passage, choice) for choice in (*choices, choices[0])]
        # A choice that begins another, and a context that ends in another's choice.
        requests += [ScoreRequest(passage, choices[2][:3])]
        requests += [ScoreRequest(passage + choices[2][:5], choices[2][5:])]
    requests += [ScoreRequest(ids(3), ids(5)), ScoreRequest(ids(1), ids(1))]
    draw.shuffle(requests)
    return requests


REQUESTS = few_shot_requests()


def plain_score(loaded: LoadedModel, request: ScoreRequest) -> Score:
    """By one pass over the request alone."""
    context = torch.tensor([request.context])
    continuation = torch.tensor([request.continuation])
    if loaded.is_encoder_decoder:
        start = torch.tensor([[loaded.model.config.decoder_start_token_id]])
        said = torch.cat([start, continuation[:, :-1]], dim=1)
        inputs = {"input_ids": context, "decoder_input_ids": said}
    else:
        inputs = {"input_ids": torch.cat([context, continuation[:, :-1]], dim=1)}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    with torch.inference_mode():
        logits_TV = loaded.model(**inputs).logits[0, -continuation.shape[1] :].float()
    chosen_T = logits_TV.log_softmax(-1).gather(1, continuation.T)
    return Score(float(chosen_T.sum()), bool((logits_TV.argmax(-1) == continuation[0]).all()))


def scorer_of(loaded: LoadedModel, budget: tuple[int, int] = PLENTY) -> Scorer:
    kind = EncoderDecoderScorer if loaded.is_encoder_decoder else CausalScorer
    return kind(loaded, Budget(*budget))


def scores(scorer: Scorer, requests: Sequence[ScoreRequest]) -> list[Score]:
    with torch.inference_mode():
        return scorer.score(requests, ignore_progress)


def assert_same(
    found: Sequence[Score], expected: Sequence[Score], requests: Sequence[ScoreRequest]
) -> None:
    assert len(found) == len(expected) == len(requests)
    for mine, theirs, request in zip(found, expected, requests, strict=True):
        tolerance = 1e-5 * len(request.continuation)
        assert mine.logprob == pytest.approx(theirs.logprob, abs=tolerance)
        assert mine.greedy == theirs.greedy


@contextmanager
def counted_tokens(model: Any) -> Iterator[list[int]]:
    """How many token ids, padding included, each pass within is given, but a soft prompt's."""
    counts: list[int] = []

    def count(_module: Any, _arguments: Any, inputs: dict[str, Any]) -> None:
        if "input_ids" in inputs:
            counts.append(inputs["input_ids"].numel())

    handle = model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield counts
    finally:
        handle.remove()


def small_model(settings: Any) -> LoadedModel:
    """A random causal model whose answers differ by prompt."""
    torch.manual_seed(0)
    return wrapped(AutoModelForCausalLM.from_config(settings, dtype=torch.float32))


def wrapped(model: Any) -> LoadedModel:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5)
    stamp = ModelStamp(id="small", parameters=0, dtype="", architecture=type(model).__name__)
    return LoadedModel(model.eval(), _NoTokenizer(), stamp, torch.device("cpu"))


class _NoTokenizer:
    bos_token_id = None
    eos_token_id = None


def family(name: str, **changed: Any) -> LoadedModel:
    return small_model(AutoConfig.for_model(name.split()[0], **{**FAMILIES[name], **changed}))


def tokens_apart(requests: Sequence[ScoreRequest]) -> int:
    """Tokens of all different rows, nothing shared but rows that begin alike to their end."""
    rows = {(*r.context, *r.continuation[:-1]) for r in requests}
    return sum(len(a) for a in rows if not any(b != a and b[: len(a)] == a for b in rows))


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_gpt2", "tiny_t5"])
def test_scores_are_those_of_a_plain_pass(
    name: str, load_lively: Any, request: pytest.FixtureRequest
) -> None:
    loaded = load_lively(request.getfixturevalue(name))
    expected = [plain_score(loaded, one) for one in REQUESTS]
    for batch_tokens in (1, 100, 4096):
        done: list[int] = []
        found = LocalEngine(loaded, batch_tokens).score(REQUESTS, done.append)
        assert_same(found, expected, REQUESTS)
        assert sum(done) == len(REQUESTS)
    assert_same(scores(scorer_of(loaded, (4096, 16)), REQUESTS), expected, REQUESTS)
    backwards = scores(scorer_of(loaded), REQUESTS[::-1])
    assert_same(backwards[::-1], expected, REQUESTS)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_shares_prefixes_and_scores_the_same(name: str) -> None:
    loaded = family(name)
    scorer = scorer_of(loaded)
    scores(scorer, REQUESTS[:1])  # by now it has been tried out
    with counted_tokens(loaded.model) as counts:
        found = scores(scorer, REQUESTS)
    assert_same(found, [plain_score(loaded, one) for one in REQUESTS], REQUESTS)
    assert sum(counts) < 0.6 * tokens_apart(REQUESTS)
    assert len(counts) > 2


@pytest.mark.parametrize(
    ("name", "changed", "way"),
    [
        ("llama", {}, Packed),
        ("qwen2", {}, Packed),
        ("gpt2", {}, Packed),
        ("mistral", {"sliding_window": 8}, Joined),
    ],
)
def test_prefixes_are_read_where_they_lie_if_attention_is_plain(
    name: str, changed: dict[str, Any], way: type[Layout]
) -> None:
    loaded = family(name, **changed)
    before = loaded.model.config._attn_implementation
    assert type(CausalScorer(loaded, Budget(*PLENTY)).way.layout) is way
    assert loaded.model.config._attn_implementation == before


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral"])
def test_the_last_feed_forward_part_is_computed_where_scores_are_asked_for(name: str) -> None:
    loaded = family(name)
    scorer = CausalScorer(loaded, Budget(*PLENTY))
    expected = scores(scorer, REQUESTS)
    part = last_feed_forward(loaded.model)
    assert part is not None
    assert scorer.way.feed_forward is part
    seen: list[int] = []
    handle = part.register_forward_hook(lambda _, __, made: seen.append(made.shape[1]))
    try:
        assert scores(scorer, REQUESTS) == expected
    finally:
        handle.remove()
    places = {
        (*request.context, *request.continuation[:end])
        for request in REQUESTS
        for end in range(len(request.continuation))
    }
    # What is too short to be shared is computed for each.
    assert len(places) <= sum(seen) < 1.2 * len(places)


def test_a_feed_forward_part_that_layers_share_is_computed_whole() -> None:
    loaded = family("llama")
    first, *others = loaded.model.model.layers
    for layer in others:
        layer.mlp = first.mlp
    scorer = CausalScorer(loaded, Budget(*PLENTY))
    found = scores(scorer, REQUESTS)
    assert scorer.way.feed_forward is None
    assert_same(found, [plain_score(loaded, one) for one in REQUESTS], REQUESTS)


def test_what_cannot_be_continued_is_computed_whole() -> None:
    settings = MambaConfig(vocab_size=100, hidden_size=32, state_size=4, num_hidden_layers=2)
    loaded = small_model(settings)
    with counted_tokens(loaded.model) as counts:
        found = scores(scorer_of(loaded), REQUESTS)
    assert_same(found, [plain_score(loaded, one) for one in REQUESTS], REQUESTS)
    assert sum(counts) >= tokens_apart(REQUESTS)


def with_rope(kind: str, window: int) -> LoadedModel:
    """A model whose frequencies follow the length of texts beyond a window."""
    rope = {"rope_type": kind, "rope_theta": 10000.0, "factor": 2.0}
    if kind == "longrope":
        rope |= {"short_factor": [1.0] * 8, "long_factor": [4.0] * 8}
        rope |= {"original_max_position_embeddings": window}
    if kind == "dynamic":
        return family("llama", rope_parameters=rope, max_position_embeddings=window)
    return family("llama", rope_parameters=rope)


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_frequencies_that_follow_the_length_are_those_of_each_text(kind: str) -> None:
    loaded = with_rope(kind, 24)
    # A model of its own for each text: transformers keeps the frequencies of the longest one.
    expected = [plain_score(with_rope(kind, 24), one) for one in REQUESTS]
    engine = LocalEngine(loaded, 4096)
    assert_same(engine.score(REQUESTS), expected, REQUESTS)
    assert_same(engine.score(REQUESTS[::-1])[::-1], expected, REQUESTS)


def test_within_its_window_a_model_with_dynamic_rope_shares_prefixes() -> None:
    loaded = with_rope("dynamic", 64)
    engine = LocalEngine(loaded, 4096)
    engine.score(REQUESTS[:1])  # by now it has been tried out
    with counted_tokens(loaded.model) as counts:
        found = engine.score(REQUESTS)
    assert_same(found, [plain_score(loaded, one) for one in REQUESTS], REQUESTS)
    assert sum(counts) < 0.6 * tokens_apart(REQUESTS)


class Forgetful(LlamaForCausalLM):
    """A model that does not use the keys and values it is given."""

    def forward(self, past_key_values: Any = None, **inputs: Any) -> Any:
        return super().forward(**inputs | {"use_cache": False})


def test_a_model_that_forgets_its_cache_is_noticed() -> None:
    loaded = wrapped(Forgetful(AutoConfig.for_model("llama", **FAMILIES["llama"])))
    found = scores(scorer_of(loaded), REQUESTS)
    assert_same(found, [plain_score(loaded, one) for one in REQUESTS], REQUESTS)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("tiny_llama", "lora"),
        ("tiny_llama", "prompt-tuning"),
        ("tiny_llama", "prefix-tuning"),
        ("tiny_gpt2", "prefix-tuning"),
        ("tiny_gpt2", "p-tuning"),
        ("tiny_t5", "lora"),
        ("tiny_t5", "prompt-tuning"),
        ("tiny_t5", "prefix-tuning"),
    ],
)
def test_adapters_and_soft_prompts_are_used(
    name: str, method: str, load_lively: Any, request: pytest.FixtureRequest
) -> None:
    loaded = load_lively(request.getfixturevalue(name))
    without = plain_score(loaded, REQUESTS[0])
    model = method_for(method, MethodsConfig()).prepare(loaded).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    adapted = replace(loaded, model=model)
    expected = [plain_score(adapted, one) for one in REQUESTS]
    assert abs(expected[0].logprob - without.logprob) > 1e-3
    scorer = scorer_of(adapted)
    assert_same(scores(scorer, REQUESTS), expected, REQUESTS)
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    with counted_tokens(inner.get_decoder() if loaded.is_encoder_decoder else inner) as counts:
        scores(scorer, REQUESTS)
    assert sum(counts) < 0.6 * tokens_apart(REQUESTS)


@pytest.mark.parametrize("pass_cost", [24, math.inf], ids=["shared", "apart"])
def test_memory_that_does_not_suffice_halves_the_batches_for_good(pass_cost: float) -> None:
    loaded = family("llama")
    expected = [plain_score(loaded, one) for one in REQUESTS]
    tried: list[int] = []

    def lacking(_module: Any, _arguments: Any, inputs: dict[str, Any]) -> None:
        tried.append(inputs["input_ids"].numel())
        if tried[-1] > 60:
            raise torch.OutOfMemoryError("no memory for so many tokens")

    loaded.model.register_forward_pre_hook(lacking, with_kwargs=True)
    scorer = CausalScorer(loaded, Budget(4096, 1024), pass_cost)
    done: list[int] = []
    with torch.inference_mode():
        found = scorer.score(REQUESTS, done.append)
    assert_same(found, expected, REQUESTS)
    assert sum(done) == len(REQUESTS)
    assert max(tried) > 60
    tried.clear()
    scores(scorer, REQUESTS)
    assert max(tried) <= 60


def test_a_single_row_without_memory_is_an_error() -> None:
    loaded = family("llama")

    def lacking(*_: Any) -> None:
        raise torch.OutOfMemoryError("no memory at all")

    loaded.model.register_forward_pre_hook(lacking)
    with pytest.raises(torch.OutOfMemoryError):
        scores(scorer_of(loaded), REQUESTS)


def test_what_is_generated_is_greedy(load_lively: Any, tiny_llama: Path) -> None:
    loaded = load_lively(tiny_llama)
    engine = LocalEngine(loaded, 512)
    context = tuple(range(5, 25))
    (made,) = engine.generate([context], Decoding(max_new_tokens=6))
    other = (*made.ids[:-1], made.ids[-1] + 1)
    found = engine.score([ScoreRequest(context, made.ids), ScoreRequest(context, other)])
    assert [score.greedy for score in found] == [True, False]
    assert found[0].logprob > found[1].logprob


def test_an_empty_context_begins_with_the_token_for_that(
    load_lively: Any, tiny_llama: Path, tiny_t5: Path
) -> None:
    for path in (tiny_llama, tiny_t5):
        loaded = load_lively(path)
        tokenizer = loaded.tokenizer
        first = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        found = LocalEngine(loaded, 512).score([ScoreRequest((), (8, 9))])
        whole = ScoreRequest((first,), (8, 9))
        assert_same(found, [plain_score(loaded, whole)], [whole])


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_t5"])
def test_a_model_that_diverged_has_no_scores(
    name: str, load: Any, request: pytest.FixtureRequest
) -> None:
    loaded = load(request.getfixturevalue(name))
    with torch.no_grad():
        loaded.model.get_output_embeddings().weight[7] = math.nan
    with pytest.raises(DataError, match="log-probabilities that the model gives are not finite"):
        LocalEngine(loaded, 512).score(REQUESTS)
    with pytest.raises(DataError, match="may come from a training that diverged"):
        LocalEngine(loaded, 512).losses([(3, 4, 5)])


def test_what_cannot_be_scored_is_told() -> None:
    scorer = scorer_of(family("llama"))
    with pytest.raises(UsageError, match="continuation has no tokens") as caught:
        scores(scorer, [REQUESTS[0], ScoreRequest((5, 6), ())])
    assert caught.value.where == "request 1"
    with pytest.raises(UsageError, match="context is empty"):
        scores(scorer, [ScoreRequest((), (5,))])
    assert scores(scorer, []) == []


@pytest.fixture(scope="module")
def small_llama() -> LoadedModel:
    return family("llama")


few = st.integers(0, 2)
some_requests = st.lists(
    st.builds(
        ScoreRequest,
        st.lists(few, min_size=1, max_size=5).map(tuple),
        st.lists(few, min_size=1, max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40)
@given(some_requests, st.sampled_from([0, 3, math.inf]), st.integers(1, 40), st.integers(1, 40))
def test_any_requests_in_any_cut(
    small_llama: LoadedModel,
    requests: list[ScoreRequest],
    pass_cost: float,
    cached: int,
    computed: int,
) -> None:
    scorer = CausalScorer(small_llama, Budget(cached, computed), pass_cost=pass_cost)
    expected = [plain_score(small_llama, one) for one in requests]
    assert_same(scores(scorer, requests), expected, requests)
