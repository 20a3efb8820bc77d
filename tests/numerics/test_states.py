"""Recurrent and hybrid models share what prompts begin with: their state is copied at each fork.

The texts are longer than the chunks in which such models scan.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tests.families import family

from luthier.config import Decoding
from luthier.inference.local.engine import LocalEngine
from luthier.models.forward import without_cache
from luthier.models.load import LoadedModel

NEW_TOKENS = 4
# Others hand back no state, or do not continue it as they made it, and read everything anew.
_OF_MAMBA = ["mamba", "mamba2", "falcon_mamba", "falcon_h1", "jamba", "bamba", "zamba2"]
SHARING = [*_OF_MAMBA, "rwkv", "minimax", "lfm2", "qwen3_next"]

pytestmark = pytest.mark.usefixtures("one_thread")


def _prompts() -> list[tuple[int, ...]]:
    """Shots before all, and passages before some."""
    draw = random.Random(5)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(10, 120) for _ in range(count))

    shots, passage = ids(280), ids(70)
    short = [shots + ids(count) for count in (9, 1, 9, 30, 2)]
    return short + [shots + passage + ids(count) for count in (9, 4, 9)]


PROMPTS = _prompts()


@contextmanager
def counted(model: Any) -> Iterator[list[int]]:
    """The tokens that a model is given."""
    seen: list[int] = []

    def count(_module: Any, _arguments: Any, named: dict[str, Any]) -> None:
        seen.append(named["input_ids"].numel())

    handle = model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


def whole(loaded: LoadedModel, prompt: tuple[int, ...]) -> tuple[int, ...]:
    """The greedy answer by passes over the whole text."""
    ids = list(prompt)
    while len(ids) < len(prompt) + NEW_TOKENS:
        with torch.inference_mode():
            output = loaded.model(input_ids=torch.tensor([ids]), **without_cache(loaded.model))
        ids.append(int(output.logits[0, -1].argmax()))
    return tuple(ids[len(prompt) :])


@pytest.mark.sample(5)
@pytest.mark.parametrize("kind", SHARING)
def test_a_shared_beginning_is_read_once(kind: str) -> None:
    loaded = family.__wrapped__(kind, max_position_embeddings=512)
    loaded.model.generation_config.eos_token_id = None
    expected = [whole(loaded, prompt) for prompt in PROMPTS]
    engine = LocalEngine(loaded, 8192)
    decoding = Decoding(max_new_tokens=NEW_TOKENS)
    assert [each.ids for each in engine.generate(PROMPTS, decoding)] == expected
    with counted(loaded.model) as seen:
        again = engine.generate(PROMPTS, decoding)
    assert [each.ids for each in again] == expected
    suffixes = sum(len(prompt) - 280 for prompt in PROMPTS)
    assert sum(seen) <= 280 + suffixes + NEW_TOKENS * len(PROMPTS)


@pytest.mark.parametrize("kind", ["mamba", "falcon_mamba", "jamba"])
def test_short_beginnings_are_not_shared_where_each_token_takes_a_pass(kind: str) -> None:
    loaded = family.__wrapped__(kind)
    prompts = [tuple(range(10, 40 + extra)) + (50 + extra,) * 20 for extra in range(4)]
    engine = LocalEngine(loaded, 8192)
    engine.generate(prompts, Decoding(max_new_tokens=1))
    with counted(loaded.model) as seen:
        engine.generate(prompts, Decoding(max_new_tokens=1))
    assert seen == [len(prompt) for prompt in sorted(prompts, key=len, reverse=True)]
