"""A small tuning that runs for real, by name of model and method; a server with a real model."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from tests.objectives import SUPERVISED

from luthier.config import Decoding, RunConfig
from luthier.core.console import Console
from luthier.data.general import general_texts
from luthier.data.replay import general_example
from luthier.prompts.training_example import TrainingExample
from luthier.records.run_directory import RunDirectory
from luthier.training import TrainingData, tune

# Far above what a real model bears: tiny random ones learn little in a few steps.
LEARNING_RATES = {
    "full": 0.01,
    "bitfit": 0.05,
    "layernorm": 0.05,
    "last-layers": 0.02,
    "selective": 0.02,
    "lora": 0.05,
    "rslora": 0.05,
    "dora": 0.05,
    "adalora": 0.05,
    "qlora": 0.05,
    "vera": 0.5,
    "ia3": 0.5,
    "adapters": 0.02,
    "prompt-tuning": 0.5,
    "prefix-tuning": 0.5,
    "p-tuning": 0.02,
}

# What a method does not train without being told.
TOLD: dict[str, dict[str, Any]] = {"selective": {"parameters": ["mlp|Dense", "norm"]}}


def _general_examples(loaded: Any, count: int) -> tuple[TrainingExample, ...]:
    """The beginnings of so many general texts."""
    texts = general_texts("python-topics", Console(quiet=True))[:count]
    ids = [loaded.tokenizer(text)["input_ids"][:48] for text, _ in texts]
    question = loaded.tokenizer.eos_token_id if loaded.is_encoder_decoder else None
    return tuple(
        general_example(f"general-{number}", each, question) for number, each in enumerate(ids)
    )


Tuned = Callable[..., tuple[Any, Any, RunDirectory]]


@pytest.fixture(scope="session")
def general_examples() -> Any:
    """Makes tokenised general texts: ``general_examples(loaded, count)``."""
    return _general_examples


@pytest.fixture
def small_tune(
    load: Any, make_examples: Any, request: pytest.FixtureRequest, tmp_path: Path
) -> Tuned:
    """Tunes on ten examples: ``small_tune("tiny_llama", "lora", run="a", train={…})``.

    ``weights`` are those of the examples, and 1 where there is none.
    ``general`` texts are mixed in with a share of ``replay``, and watched where a guard does so.
    """

    def run_it(
        model: str = "tiny_llama",
        method: Any = "lora",
        *,
        run: str = "run",
        train: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        dtype: str = "float32",
        fingerprint: str = "the data",
        validate: bool = True,
        weights: Sequence[float] = (),
        general: int = 0,
        replay: float = 0.0,
        observers: Sequence[Any] = (),
        console: Console | None = None,
        **more: Any,
    ) -> tuple[Any, Any, RunDirectory]:
        config = RunConfig.model_validate(
            {
                "train": {"epochs": 2, "batch_size": 2, "micro_batch_tokens": 128} | (train or {}),
                "data": {"replay": replay},
                "methods": {
                    method: {"learning_rate": LEARNING_RATES[method]}
                    | TOLD.get(method, {})
                    | (settings or {}),
                },
            }
        )
        base = load(request.getfixturevalue(model), dtype, config.base_of(method).quantisation)
        examples = make_examples(base, 13)
        examples = tuple(
            dataclasses.replace(one, weight=weight)
            for one, weight in zip_longest(examples, weights[:13], fillvalue=1.0)
        )
        texts = _general_examples(base, general)
        data = TrainingData(
            examples[:10],
            examples[10:] if validate else (),
            fingerprint,
            SUPERVISED,
            general=texts if replay else (),
            watched=texts if config.train.guards.max_forgetting else (),
        )
        directory = RunDirectory.create(tmp_path, run)
        console = console or Console(quiet=True)
        loaded, record = tune(base, method, config, data, directory, console, observers, **more)
        return loaded, record, directory

    return run_it


def _streamed(choice: dict[str, Any], usage: dict[str, int], key: str) -> bytes:
    """Events of an answer, a character each, and the usage at the end."""
    text = choice.pop("text")
    parts = [{"delta": {"content": each}} if key == "delta" else {"text": each} for each in text]
    ends = [{**({"delta": {}} if key == "delta" else {"text": ""}), **choice}]
    events = [
        *({"choices": [{"finish_reason": None, **part}]} for part in parts),
        {"choices": ends},
        {"choices": [], "usage": usage},
    ]
    lines = [": a comment\n\n", *(f"data: {json.dumps(event)}\r\n\r\n" for event in events)]
    return "".join([*lines, "data: [DONE]\n\n"]).encode()


def _serve(loaded: Any, reply: Any) -> Any:
    """The rule of a server that runs ``loaded``: chat, completions, echoed log-probabilities."""
    import torch

    from luthier.inference.local.engine import LocalEngine

    engine, tokenizer, lock = LocalEngine(loaded), loaded.tokenizer, threading.Lock()

    def generated(ids: list[int], body: Any) -> tuple[dict[str, Any], dict[str, int]]:
        limits = Decoding(max_new_tokens=body["max_tokens"], stop=tuple(body.get("stop", ())))
        answer = engine.generate([ids], limits)[0]
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(answer.ids)}
        return {"text": answer.text, "finish_reason": answer.finish}, usage

    def echoed(prompt: str) -> dict[str, Any]:
        ids = tokenizer(prompt)["input_ids"]
        with torch.inference_mode():
            logits_TV = loaded.model(torch.tensor([ids])).logits[0].float()
        logprobs_TV = logits_TV.log_softmax(-1)
        tokens = [*tokenizer.batch_decode([[i] for i in ids]), " more"]
        own = [logprobs_TV[place, token].item() for place, token in enumerate(ids[1:])]
        best = [{"best": value} for value in logprobs_TV.amax(-1).tolist()]
        return {
            "tokens": tokens,
            "token_logprobs": [None, *own, -1.0],
            "top_logprobs": [None, *best],
            "text_offset": [len("".join(tokens[:place])) for place in range(len(tokens))],
        }

    def rule(path: str, body: Any) -> Any:
        with lock:
            if path == "/models":
                return {"object": "list", "data": [{"id": "tiny", "created": time.time()}]}
            if path == "/chat/completions":
                written = tokenizer.apply_chat_template(
                    body["messages"], tokenize=False, add_generation_prompt=True
                )
                choice, usage = generated(tokenizer(written)["input_ids"], body)
                if body.get("stream"):
                    events = _streamed(choice, usage, "delta")
                    raise reply(200, events, Content_Type="text/event-stream; charset=utf-8")
                message = {"role": "assistant", "content": choice.pop("text")}
                return {"choices": [{"message": message, **choice}], "usage": usage}
            if body.get("echo"):
                logprobs = echoed(body["prompt"])
                usage = {"prompt_tokens": len(logprobs["tokens"]) - 1, "completion_tokens": 1}
                return {"choices": [{"text": "", "logprobs": logprobs}], "usage": usage}
            choice, usage = generated(tokenizer(body["prompt"])["input_ids"], body)
            if body.get("stream"):
                events = _streamed(choice, usage, "text")
                raise reply(200, events, Content_Type="text/event-stream")
            return {"choices": [choice], "usage": usage}

    return rule


@pytest.fixture(scope="session")
def lively(load_lively: Any, tiny_llama: Path) -> Any:
    """A model whose answers differ by prompt."""
    return load_lively(tiny_llama)


@pytest.fixture
def server(loopback: Any, lively: Any) -> Any:
    """A server with that model."""
    loopback.rule = _serve(lively, loopback.reply)
    return loopback
