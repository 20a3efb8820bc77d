"""Vision-language models used with text alone answer as transformers computes them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.wrappers import WRAPPERS, lively

from luthier.config import Decoding, ModelConfig
from luthier.core.console import Console
from luthier.inference import ScoreRequest
from luthier.inference.local.engine import LocalEngine
from luthier.models.load import LoadedModel, load_model, open_model

NEW_TOKENS = 10


@pytest.fixture(params=WRAPPERS)
def wrapper(request: pytest.FixtureRequest, tmp_path: Path, small_tokenizer: Any) -> LoadedModel:
    """A model of each kind, loaded from its folder without a processor."""
    model = lively(WRAPPERS[request.param])
    model.generation_config.eos_token_id = 2
    model.save_pretrained(tmp_path / request.param)
    small_tokenizer.save_pretrained(tmp_path / request.param)
    config = ModelConfig(id=str(tmp_path / request.param), dtype="float32")
    return load_model(open_model(config, Console(quiet=True)))


def _prompts() -> list[list[int]]:
    """Of several lengths, three of them with much in common."""
    draw = random.Random(0)
    prompts = [[draw.randrange(10, 2000) for _ in range(length)] for length in (5, 9, 9, 14)]
    shared = [draw.randrange(10, 2000) for _ in range(40)]
    return prompts + [
        shared + [draw.randrange(10, 2000) for _ in range(length)] for length in (2, 5, 7)
    ]


@torch.inference_mode()
def _logits(model: Any, ids: list[int]) -> torch.Tensor:
    """Of one text, ``[tokens, vocabulary]``."""
    ids_1T = torch.tensor([ids])
    logits_TV: torch.Tensor = model(input_ids=ids_1T, attention_mask=torch.ones_like(ids_1T)).logits
    return logits_TV[0].log_softmax(-1)


def test_scores(wrapper: LoadedModel) -> None:
    prompts = _prompts()
    requests = [
        ScoreRequest(tuple(prompt), tuple(other[:3]))
        for prompt, other in zip(prompts, prompts[1:] + prompts[:1], strict=True)
    ]
    for request, score in zip(requests, LocalEngine(wrapper).score(requests), strict=True):
        logprobs_TV = _logits(wrapper.model, [*request.context, *request.continuation])
        first = len(request.context) - 1
        expected = sum(
            logprobs_TV[first + place, token].item()
            for place, token in enumerate(request.continuation)
        )
        assert score.logprob == pytest.approx(expected, abs=1e-4)


def test_greedy_answers(wrapper: LoadedModel) -> None:
    prompts = _prompts()
    answers = LocalEngine(wrapper).generate(prompts, Decoding(max_new_tokens=NEW_TOKENS))
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = list(prompt)
        while len(ids) < len(prompt) + NEW_TOKENS and ids[-1] != 2:
            ids.append(int(_logits(wrapper.model, ids)[-1].argmax()))
        expected = [token for token in ids[len(prompt) :] if token != 2]
        assert [token for token in answer.ids if token != 2] == expected
