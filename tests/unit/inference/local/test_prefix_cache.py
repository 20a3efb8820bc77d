"""What prompts begin with is computed once, however many batches there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.config import Decoding
from luthier.evaluation.cached_engine import CachedEngine
from luthier.inference.local.engine import LocalEngine
from luthier.inference.local.prefix_cache import PrefixCache
from luthier.inference.local.radix_tree import Node
from luthier.inference.local.soft_prompt import SoftPrompt
from luthier.records.result_cache import ResultCache

TWO = Decoding(max_new_tokens=2)
SHOTS = list(range(1000, 1300))
QUESTIONS = [[3 + number % 5, *range(10, 13 + number % 7), 20 + number] for number in range(24)]


@pytest.fixture
def loaded(load_lively: Any, tiny_llama: Path) -> Any:
    return load_lively(tiny_llama)


@contextmanager
def counted(model: Any) -> Iterator[list[int]]:
    """The tokens of each forward pass, padding included; single ones are answers, not prompts."""
    counts: list[int] = []

    def note(_module: Any, arguments: Any) -> None:
        if arguments[0].shape[1] > 1:
            counts.append(arguments[0].numel())

    handle = model.get_input_embeddings().register_forward_pre_hook(note)
    yield counts
    handle.remove()


def tried(loaded: Any, batch_tokens: int) -> LocalEngine:
    """An engine that knows already what it may reuse."""
    engine = LocalEngine(loaded, batch_tokens)
    engine.generate([[5, 6]], TWO)
    return engine


def tokens(prompts: Sequence[Sequence[int]]) -> int:
    return sum(map(len, prompts))


def test_shots_are_computed_once_for_all_batches(loaded: Any, tmp_path: Path) -> None:
    prompts = [[*SHOTS, *question] for question in QUESTIONS]
    alone = [LocalEngine(loaded, 4096).generate([prompt], TWO)[0] for prompt in prompts]
    for batch_tokens in (8000, 1000):  # all together, and three by three
        log = ResultCache(tmp_path / f"{batch_tokens}.jsonl")
        engine = CachedEngine(tried(loaded, batch_tokens), "model", log, batch_tokens)
        with counted(loaded.model) as counts:
            assert engine.generate(prompts, TWO) == alone
        # A batch computes again what stands after the last whole piece: 300 - 2 × 128 = 44.
        batches = 1 if batch_tokens == 8000 else 8
        assert sum(counts) <= 256 + batches * (44 + 8) + 1.2 * tokens(QUESTIONS)


def test_a_passage_is_computed_once_for_its_questions(loaded: Any) -> None:
    passages = [list(range(start, start + 90)) for start in range(400, 800, 100)]
    prompts = [[*SHOTS, *passage, *q] for q in QUESTIONS[:6] for passage in passages]
    alone = [LocalEngine(loaded, 4096).generate([prompt], TWO)[0] for prompt in prompts]
    engine = tried(loaded, 3 * 420)
    with counted(loaded.model) as counts:
        assert engine.generate(prompts, TWO) == alone
    assert sum(counts) <= 300 + 8 * (90 + 44) + 1.2 * 4 * tokens(QUESTIONS[:6])
    assert tokens(prompts) > 9000


def test_what_differs_shares_nothing(loaded: Any) -> None:
    engine = tried(loaded, 4096)
    with counted(loaded.model) as counts:
        engine.generate(QUESTIONS, TWO)
    assert tokens(QUESTIONS) <= sum(counts) <= 1.2 * tokens(QUESTIONS)


@torch.inference_mode()
def test_a_beginning_is_the_same_to_the_last_bit_whatever_was_asked_before(loaded: Any) -> None:
    def path(*parts: Sequence[int]) -> list[Node]:
        starts = [tokens(parts[:number]) for number in range(len(parts))]
        return [Node(start, tuple(part)) for start, part in zip(starts, parts, strict=True)]

    wanted = path(SHOTS, range(50, 120), range(7))
    used, fresh = (PrefixCache(loaded.model, SoftPrompt()) for _ in range(2))
    for before in (path(SHOTS[:200]), path(SHOTS, range(60)), path([5]), path([*SHOTS, 1], [2])):
        used.reach(before)
    with counted(loaded.model) as counts:
        one = used.reach(wanted)
    assert sum(counts) < 300 - 256 + 77 + 1
    other = fresh.reach(wanted)
    assert one.get_seq_length() == other.get_seq_length() == 377
    for mine, theirs in zip(one.layers, other.layers, strict=True):
        assert torch.equal(mine.keys, theirs.keys)
        assert torch.equal(mine.values, theirs.values)
    assert used.reach([]).get_seq_length() == 0
