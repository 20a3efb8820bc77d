"""Answers are kept by what they were made from, and another model never gets them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.config import Decoding
from luthier.core.files import read_lines
from luthier.evaluation import cached_engine as kept
from luthier.evaluation.cached_engine import CachedEngine
from luthier.inference import Generation, Score, ScoreRequest, TextLoss
from luthier.inference.engine import ProgressCallback
from luthier.inference.local.engine import LocalEngine
from luthier.inference.token_engine import TokenEngine
from luthier.inference.tokenise import TokenRequest, Tokens
from luthier.models.fingerprint import model_fingerprint
from luthier.records.result_cache import ResultCache

TOKENS = 60
PROMPTS = [[5, 6, 7], [8, 9], [10, 11, 12, 13], [14], [5, 6, 7, 8, 9, 10, 11]] * 4
PROMPTS = [[*ids, 100 + number] for number, ids in enumerate(PROMPTS)]
FIVE = Decoding(max_new_tokens=5)
OTHER_SETTINGS = [
    (PROMPTS, Decoding(max_new_tokens=6)),
    (PROMPTS, Decoding(max_new_tokens=5, stop=("a",))),
]


class Counting(TokenEngine):
    """A real engine that notes what it is asked, and can be stopped."""

    def __init__(self, inner: TokenEngine, calls: int = 1000) -> None:
        super().__init__(inner.tokenizer)
        self.inner = inner
        self.left = calls
        self.asked: list[list[int]] = []

    def generate_from_tokens(
        self, prompts: Sequence[Tokens], decoding: Decoding, advance: ProgressCallback
    ) -> list[Generation]:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.asked += map(list, prompts)
        return self.inner.generate_from_tokens(prompts, decoding, advance)

    def score_tokens(
        self, requests: Sequence[TokenRequest], advance: ProgressCallback
    ) -> list[Score]:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.asked += [[*one.context, *one.continuation] for one in requests]
        return self.inner.score_tokens(requests, advance)

    def losses_of_tokens(
        self, sequences: Sequence[Tokens], advance: ProgressCallback
    ) -> list[TextLoss]:
        self.asked += map(list, sequences)
        return self.inner.losses_of_tokens(sequences, advance)


@pytest.fixture
def loaded(load: Any, tiny_llama: Path) -> Any:
    return load(tiny_llama)


def kept_engine(loaded: Any, path: Path, calls: int = 1000) -> tuple[CachedEngine, Counting]:
    counting = Counting(LocalEngine(loaded, TOKENS), calls)
    return CachedEngine(counting, model_fingerprint(loaded), ResultCache(path), TOKENS), counting


def test_nothing_is_asked_twice(loaded: Any, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    engine, _ = kept_engine(loaded, path)
    answers, losses = engine.generate(PROMPTS, FIVE), engine.losses(PROMPTS)
    assert answers == LocalEngine(loaded, TOKENS).generate(PROMPTS, FIVE)
    done: list[int] = []
    again, counting = kept_engine(loaded, path)
    assert again.generate(PROMPTS, FIVE, done.append) == answers
    assert again.losses(PROMPTS) == losses
    assert (counting.asked, sum(done)) == ([], len(PROMPTS))
    assert again.usage.seconds > 0


def test_an_interruption_loses_the_batch_in_flight_alone(loaded: Any, tmp_path: Path) -> None:
    whole, counting = kept_engine(loaded, tmp_path / "whole.jsonl")
    expected = whole.generate(PROMPTS, FIVE)
    path = tmp_path / "log.jsonl"
    broken, first = kept_engine(loaded, path, calls=2)
    with pytest.raises(KeyboardInterrupt):
        broken.generate(PROMPTS, FIVE)
    assert len(list(read_lines(path))) == len(first.asked) < len(PROMPTS)
    path.write_bytes(path.read_bytes()[:-7])  # and the last line is torn
    rest, second = kept_engine(loaded, path)
    assert rest.generate(PROMPTS, FIVE) == expected
    # Two batches were asked, and the second one was torn: it comes again as a whole.
    assert second.asked == counting.asked[-len(second.asked) :]
    assert len(PROMPTS) - len(first.asked) < len(second.asked) < len(PROMPTS)


def test_other_settings_prompts_and_versions_are_asked_anew(
    loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.jsonl"
    kept_engine(loaded, path)[0].generate(PROMPTS, FIVE)
    others = [*OTHER_SETTINGS, ([[*ids, 3] for ids in PROMPTS], FIVE)]
    for prompts, decoding in others:
        engine, counting = kept_engine(loaded, path)
        engine.generate(prompts, decoding)
        assert len(counting.asked) == len(prompts)
    monkeypatch.setattr(kept.luthier, "__version__", "0.0.0+other")
    engine, counting = kept_engine(loaded, path)
    engine.generate(PROMPTS, FIVE)
    assert len(counting.asked) == len(PROMPTS)


def test_a_damaged_answer_is_asked_again(loaded: Any, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    expected = kept_engine(loaded, path)[0].generate(PROMPTS, FIVE)
    for damage in ('"finish": "length"', '"seconds"'):
        path.write_text(path.read_text().replace(damage, damage.replace("e", "x")))
        engine, counting = kept_engine(loaded, path)
        assert engine.generate(PROMPTS, FIVE) == expected
        assert counting.asked


def test_models_of_one_name_and_place_are_told_apart(
    loaded: Any, load: Any, tiny_llama: Path, tmp_path: Path
) -> None:
    """The same folder, name, revision, sizes and dates; one weight differs in its last bit."""
    path = tmp_path / "log.jsonl"
    other = load(tiny_llama)
    assert model_fingerprint(other) == model_fingerprint(loaded)
    with torch.no_grad():
        weight = other.model.model.layers[0].mlp.up_proj.weight
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))
    assert other.stamp == loaded.stamp
    kept_engine(loaded, path)[0].generate(PROMPTS, FIVE)
    engine, counting = kept_engine(other, path)
    engine.generate(PROMPTS, FIVE)
    assert len(counting.asked) == len(PROMPTS)


def test_what_is_not_in_the_weights_counts_too(loaded: Any, load: Any, tiny_llama: Path) -> None:
    plain = model_fingerprint(loaded)
    other = load(tiny_llama)
    other.model.config.rms_norm_eps = 1e-3
    assert model_fingerprint(other) != plain
    ended = load(tiny_llama)
    ended.model.generation_config.eos_token_id = [2, 5]
    assert model_fingerprint(ended) != plain


@pytest.mark.parametrize("method", ["lora", "prompt-tuning", "adapters", "full"])
def test_a_tuned_model_is_the_same_from_memory_and_from_disk(
    method: str, small_tune: Any, load: Any, tiny_llama: Path, tmp_path: Path
) -> None:
    from luthier.config import ModelConfig
    from luthier.core.console import Console
    from luthier.methods import load_adapted

    tuned, _, run = small_tune(method=method)
    folder = tmp_path / "elsewhere"
    shutil.copytree(run.model, folder)
    base = ModelConfig(id=str(tiny_llama), dtype="float32")
    again = load_adapted(folder, base, Console(quiet=True))
    assert model_fingerprint(again) == model_fingerprint(tuned)
    assert model_fingerprint(again) != model_fingerprint(load(tiny_llama))


def test_scores_are_kept_in_parts(
    loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_SCORED_TOGETHER", 8)
    requests = [ScoreRequest(tuple(ids[:-1]), tuple(ids[-1:])) for ids in PROMPTS]
    expected, _ = kept_engine(loaded, tmp_path / "whole.jsonl")
    scores = expected.score(requests)
    alone = LocalEngine(loaded, TOKENS).score(requests)
    assert [s.logprob for s in scores] == pytest.approx([s.logprob for s in alone], abs=1e-5)

    path = tmp_path / "log.jsonl"
    first, counting = kept_engine(loaded, path, calls=1)
    with pytest.raises(KeyboardInterrupt):
        first.score(requests)
    assert len(counting.asked) == 8
    second, counting = kept_engine(loaded, path)
    assert second.score(requests) == scores
    assert len(counting.asked) == len(requests) - 8


def test_a_score_is_of_its_context_and_its_continuation(loaded: Any, tmp_path: Path) -> None:
    """The same tokens, cut in another place, are another question."""
    engine, counting = kept_engine(loaded, tmp_path / "log.jsonl")
    engine.score([ScoreRequest((5, 6), (7,))])
    (score,) = engine.score([ScoreRequest((5,), (6, 7))])
    assert len(counting.asked) == 2
    assert [score] == LocalEngine(loaded, TOKENS).score([ScoreRequest((5,), (6, 7))])


def test_progress_counts_what_is_made_and_what_is_found(loaded: Any, tmp_path: Path) -> None:
    requests = [ScoreRequest((20 + i, *range(5, 17)), (9,)) for i in range(12)]
    sequences = [[5, 6, 7, 8, *range(9, 9 + i)] for i in range(6)]
    steps: list[list[int]] = []
    for _ in range(2):
        engine, _ = kept_engine(loaded, tmp_path / "log.jsonl")
        for ask in (
            partial(engine.generate, PROMPTS, Decoding(max_new_tokens=4)),
            partial(engine.score, requests),
            partial(engine.losses, sequences),
        ):
            steps.append([])
            ask(steps[-1].append)
    assert [sum(part) for part in steps] == 2 * [len(PROMPTS), len(requests), len(sequences)]
    assert len(steps[1]) > len(steps[4]) == 1  # as they are made, and all at once when found
