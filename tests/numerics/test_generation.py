"""Our generation and scores are those of transformers, whatever the batch."""

from __future__ import annotations

from pydoc_data.topics import topics
from typing import Any

import pytest
import torch

from luthier.config import Decoding, MethodsConfig, PromptConfig
from luthier.core.example import Example, Message
from luthier.inference.local.engine import LocalEngine
from luthier.methods import method_for
from luthier.prompts.render import PromptRenderer

QUESTIONS = (
    "What is the capital of France?",
    "Say hello.",
    "Write one sentence about the sea, and use the word 'blue' in it.",
    "2 + 2 =",
    "Name a colour.",
    "Which language is Python's standard library written in, for the most part?",
)
NEW_TOKENS = 12
DECODING = Decoding(max_new_tokens=NEW_TOKENS)


def prompts_for(loaded: Any, questions: tuple[str, ...] = QUESTIONS) -> list[tuple[int, ...]]:
    renderer = PromptRenderer.from_config(
        PromptConfig(system=None if loaded.is_encoder_decoder else "Answer in a few words."),
        loaded.tokenizer,
        context_window=loaded.context_window,
        encoder_decoder=loaded.is_encoder_decoder,
    )
    examples = [Example(text, (Message("user", text),), ()) for text in questions]
    return [renderer.prompt(example).ids for example in examples]


def transformers_answers(model: Any, prompts: list[Any], ends: set[int]) -> list[tuple[int, ...]]:
    """What ``generate`` of transformers or peft adds, one prompt at a time, without the end."""
    answers = []
    for prompt in prompts:
        ids_1T = torch.tensor([prompt])
        with torch.inference_mode():
            output = model.generate(
                input_ids=ids_1T,
                attention_mask=torch.ones_like(ids_1T),
                do_sample=False,
                max_new_tokens=NEW_TOKENS,
                pad_token_id=0,
            )[0].tolist()
        new = output[1:] if model.config.is_encoder_decoder else output[len(prompt) :]
        stop = next((i for i, token in enumerate(new) if token in ends), len(new))
        answers.append(tuple(new[:stop]))
    return answers


def our_answers(loaded: Any, prompts: list[Any], batch_tokens: int = 4096) -> list[tuple[int, ...]]:
    generations = LocalEngine(loaded, batch_tokens).generate(prompts, DECODING)
    return [generation.ids for generation in generations]


def test_the_bundled_model_answers_as_with_transformers(bundled_float32: Any) -> None:
    prompts = prompts_for(bundled_float32, QUESTIONS[:3])
    expected = transformers_answers(bundled_float32.model, prompts, {2})
    assert our_answers(bundled_float32, prompts) == expected
    assert any(expected)


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_t5"])
def test_a_random_model_answers_as_with_transformers(
    name: str, load_lively: Any, request: pytest.FixtureRequest
) -> None:
    loaded = load_lively(request.getfixturevalue(name))
    prompts = prompts_for(loaded)
    expected = transformers_answers(loaded.model, prompts, {loaded.tokenizer.eos_token_id})
    assert our_answers(loaded, prompts) == expected
    assert len(set(expected)) > 3


@pytest.mark.parametrize("method", ["full", "lora", "prompt-tuning"])
@pytest.mark.parametrize("name", ["tiny_llama", "tiny_t5"])
def test_answers_do_not_depend_on_the_batch(
    name: str, method: str, load_lively: Any, request: pytest.FixtureRequest
) -> None:
    loaded = load_lively(request.getfixturevalue(name))
    model = method_for(method, MethodsConfig()).prepare(loaded)
    loaded = type(loaded)(model, loaded.tokenizer, loaded.stamp, loaded.device)
    prompts = prompts_for(loaded)
    alone = [our_answers(loaded, [prompt])[0] for prompt in prompts]
    for batch_tokens in (1, 150, 4096):
        assert our_answers(loaded, prompts, batch_tokens) == alone
    assert our_answers(loaded, prompts[::-1]) == alone[::-1]
    assert our_answers(loaded, [prompts[0], prompts[0], prompts[3]]) == [
        alone[0],
        alone[0],
        alone[3],
    ]


@pytest.mark.long
def test_the_bundled_models_answers_do_not_depend_on_the_batch(bundled_float32: Any) -> None:
    prompts = prompts_for(bundled_float32, QUESTIONS[1:4])
    together = our_answers(bundled_float32, prompts)
    assert our_answers(bundled_float32, prompts[::-1], batch_tokens=150) == together[::-1]
    assert our_answers(bundled_float32, prompts[:2]) == together[:2]


def test_an_answer_ends_at_the_stop_token_or_at_the_limit(bundled_float32: Any) -> None:
    prompts = prompts_for(bundled_float32, ("What is the capital of France?",))
    engine = LocalEngine(bundled_float32, 4096)
    (whole,) = engine.generate(prompts, Decoding(max_new_tokens=64))
    assert whole.finish == "stop"
    assert "Paris" in whole.text
    (cut,) = engine.generate(prompts, Decoding(max_new_tokens=2))
    assert (cut.finish, cut.ids) == ("length", whole.ids[:2])
    assert engine.generate([], DECODING) == []


def transformers_nats(loaded: Any, ids: list[int]) -> float:
    ids_1T = torch.tensor([ids])
    inputs = {"input_ids": ids_1T, "labels": ids_1T}
    if loaded.is_encoder_decoder:  # the text is the answer to an empty question
        inputs["input_ids"] = torch.tensor([[loaded.tokenizer.eos_token_id]])
    predicted = len(ids) - (not loaded.is_encoder_decoder)
    with torch.inference_mode():
        return float(loaded.model(**inputs).loss) * predicted


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_t5", "bundled"])
def test_losses_are_transformers_own(
    name: str, load_lively: Any, request: pytest.FixtureRequest
) -> None:
    loaded = (
        request.getfixturevalue("bundled_float32")
        if name == "bundled"
        else load_lively(request.getfixturevalue(name))
    )
    texts = [topics[key] for key in ("with", "assert", "if", "lambda")]
    sequences = [
        loaded.tokenizer(text)["input_ids"][:length]
        for text, length in zip(texts, (70, 12, 2, 71), strict=True)
    ]
    losses = LocalEngine(loaded, 64).losses(sequences)
    first = 0 if loaded.is_encoder_decoder else 1
    assert [loss.tokens for loss in losses] == [len(ids) - first for ids in sequences]
    for loss, ids in zip(losses, sequences, strict=True):
        assert loss.nats == pytest.approx(transformers_nats(loaded, ids), rel=1e-5)


def test_a_single_token_predicts_nothing(load: Any, tiny_llama: Any) -> None:
    losses = LocalEngine(load(tiny_llama), 64).losses([[5], [5, 6]])
    assert (losses[0].nats, losses[0].tokens) == (0.0, 0)
    assert losses[1].tokens == 1
