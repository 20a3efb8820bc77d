"""One contract for every engine: in this process, with a cache, in vLLM, on a server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.config import Decoding, ModelConfig
from luthier.config.decoding import Beam, Sampling
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.example import Message
from luthier.evaluation.cached_engine import CachedEngine
from luthier.inference import Engine, ScoreRequest
from luthier.inference.local.engine import LocalEngine
from luthier.inference.remote import open_endpoint
from luthier.inference.vllm.engine import VllmEngine, VllmModel
from luthier.models.fingerprint import model_fingerprint
from luthier.models.load import open_model
from luthier.prompts.prompt import Content, Conversation
from luthier.records.result_cache import ResultCache

TEXTS = ["The water is", "Ice", "A fire burns. It is"]
TALKS = [
    Conversation((Message("system", "Be short."), Message("user", f"What is {number} + 1?")))
    for number in range(3)
]
EIGHT = Decoding(max_new_tokens=8)
KINDS = ["local", "cached", "vllm", "remote"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def engine(
    kind: str, lively: Any, tiny_llama: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Engine:
    def cached() -> Engine:
        log = ResultCache(tmp_path / "log.jsonl")
        return CachedEngine(LocalEngine(lively), model_fingerprint(lively), log, 512)

    def vllm() -> Engine:
        pytest.importorskip("vllm")
        handle = open_model(ModelConfig(id=str(tiny_llama)), Console(quiet=True))
        return VllmEngine(VllmModel.load(handle))

    def remote() -> Engine:
        url = request.getfixturevalue("server").url
        config = ModelConfig.model_validate({"id": url, "endpoint": {"backoff": 0.01}})
        return open_endpoint(config, Console(quiet=True)).engine()

    make: dict[str, Callable[[], Engine]] = {
        "local": lambda: LocalEngine(lively), "cached": cached, "vllm": vllm, "remote": remote,
    }  # fmt: skip
    return make[kind]()


def ids_of(lively: Any, content: Content) -> list[int]:
    """The tokens that a prompt stands for, as transformers makes them."""
    tokenizer = lively.tokenizer
    if isinstance(content, Conversation):
        turns = [{"role": turn.role, "content": turn.content} for turn in content.messages]
        content = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    ids: list[int] = tokenizer(content)["input_ids"]
    return ids


@pytest.mark.parametrize("prompts", [TEXTS, TALKS], ids=["text", "conversation"])
def test_prompts_are_answered_in_their_order(
    engine: Engine, lively: Any, prompts: list[Content]
) -> None:
    done: list[int] = []
    answers = engine.generate(prompts, EIGHT, done.append)
    expected = LocalEngine(lively).generate([ids_of(lively, p) for p in prompts], EIGHT)
    assert [(a.text, a.finish) for a in answers] == [(a.text, a.finish) for a in expected]
    assert len({answer.text for answer in answers}) > 1
    assert sum(done) == len(prompts)


@pytest.mark.parametrize("prompt", [TEXTS[2], TALKS[1]], ids=["text", "conversation"])
def test_a_streamed_answer_is_the_answer(engine: Engine, prompt: Content) -> None:
    pieces: list[str] = []
    answer = engine.stream(prompt, EIGHT, pieces.append)
    (expected,) = engine.generate([prompt], EIGHT)
    assert (answer.text, answer.finish) == (expected.text, expected.finish)
    assert "".join(pieces) == expected.text
    assert len(pieces) > 1
    again: list[str] = []
    assert engine.stream(prompt, EIGHT, again.append).text == "".join(again) == expected.text


def test_a_streamed_answer_never_shows_a_stop_string(engine: Engine) -> None:
    (whole,) = engine.generate([TEXTS[2]], EIGHT)
    stop = whole.text[2:5]
    pieces: list[str] = []
    decoding = Decoding(max_new_tokens=8, stop=(stop,))
    answer = engine.stream(TEXTS[2], decoding, pieces.append)
    assert answer.finish == "stop"
    assert "".join(pieces) == answer.text == whole.text[:2].strip()


def test_a_sampled_answer_is_streamed(engine: Engine) -> None:
    decoding = Decoding(max_new_tokens=8, strategy=Sampling(seed=3))
    pieces: list[str] = []
    answer = engine.stream(TEXTS[0], decoding, pieces.append)
    assert "".join(pieces) == answer.text != ""


def test_token_ids_are_for_engines_with_the_tokenizer(
    engine: Engine, kind: str, lively: Any
) -> None:
    ids = ids_of(lively, TEXTS[0])
    if kind == "remote":
        with pytest.raises(UsageError, match="takes no token ids"):
            engine.generate([ids], EIGHT)
        with pytest.raises(UsageError, match="plain text only"):
            engine.losses([ids])
    else:
        assert engine.generate([ids], EIGHT) == engine.generate([TEXTS[0]], EIGHT)
        assert engine.losses([ids]) == engine.losses([TEXTS[0]])


def test_scores_of_text_are_those_of_its_tokens(engine: Engine, lively: Any) -> None:
    words = [" cold", " hot", " hot and bright"]
    done: list[int] = []
    scores = engine.score(
        [ScoreRequest(text, word) for text in TEXTS for word in words], done.append
    )
    for (text, word), score in zip(((t, w) for t in TEXTS for w in words), scores, strict=True):
        before, whole = ids_of(lively, text), ids_of(lively, text + word)
        request = ScoreRequest(tuple(before), tuple(whole[len(before) :]))
        (expected,) = LocalEngine(lively).score([request])
        assert score.logprob == pytest.approx(expected.logprob, abs=1e-3)
        assert score.greedy == expected.greedy
    assert sum(done) == len(scores)


def test_losses_of_text_are_those_of_its_tokens(engine: Engine, lively: Any) -> None:
    found = engine.losses(TEXTS)
    expected = LocalEngine(lively).losses([ids_of(lively, text) for text in TEXTS])
    assert [loss.tokens for loss in found] == [loss.tokens for loss in expected]
    assert [loss.nats for loss in found] == pytest.approx([x.nats for x in expected], abs=1e-3)


def test_an_answer_in_a_conversation_is_not_scored(engine: Engine) -> None:
    request = ScoreRequest(TALKS[0], " one")
    with pytest.raises(UsageError):
        engine.score([request])


def test_only_a_server_counts_tokens_that_nobody_else_knows(engine: Engine, kind: str) -> None:
    before = engine.usage
    engine.generate(TEXTS, EIGHT)
    usage = engine.usage.since(before)
    assert (usage.prompt_tokens > 0, usage.generated_tokens > 0) == (kind == "remote",) * 2
    assert usage.seconds == 0


def test_strategies_that_an_engine_lacks_are_refused(engine: Engine, kind: str) -> None:
    beam = Decoding(max_new_tokens=4, strategy=Beam(num_beams=2))
    if kind in ("remote", "vllm"):
        with pytest.raises(UsageError, match="beam"):
            engine.generate(TEXTS, beam)
    else:
        pieces: list[str] = []
        answer = engine.stream(TEXTS[0], beam, pieces.append)
        assert pieces == [answer.text]  # the best beam is known at the end
