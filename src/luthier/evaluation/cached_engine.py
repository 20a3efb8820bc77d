"""An inference engine with a persistent cache of answers, scores and losses."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

import luthier
from luthier.config import Decoding
from luthier.core.seeds import fingerprint
from luthier.inference import Generation, Score, TextLoss
from luthier.inference.engine import ProgressCallback, Usage, ignore_progress
from luthier.inference.grouping import generation_batches
from luthier.inference.token_engine import TokenEngine
from luthier.inference.tokenise import TokenRequest, Tokens
from luthier.records.result_cache import ResultCache

_COMPUTING = ("luthier.inference", "luthier.methods", "luthier.models")
"""The packages of Luthier whose code affects answers."""
_PACKAGES = ("torch", "transformers", "peft", "tokenizers", "vllm")
# Requests that are scored and cached together. An interruption loses at most one such part.
# Requests are sorted by context, so only a prefix that two parts share is computed twice.
_SCORED_TOGETHER = 512
_GENERATION, _LOSS = TypeAdapter(Generation), TypeAdapter(TextLoss)
_SCORE = TypeAdapter(Score)
_Kept = TypeVar("_Kept", Generation, TextLoss, Score)


class CachedEngine(TokenEngine):
    """An engine that looks up answers in a cache, and stores those that another engine computes.

    The cache key of an answer covers all that affects it: the model's content, the prompt's tokens
    (and so the task, the template and the few-shot examples), the decoding settings, and the
    versions of the packages that compute. A model with other content has other keys, even under
    the same name.

    Prompts run in the batches that the inner engine itself would make. Each batch is written to
    disk before the next one begins. A batch with a missing answer is computed again as a whole, so
    a resumed evaluation gives the same results, to the last bit, as an uninterrupted one.

    Args:
        inner: the engine that computes answers.
        model: the fingerprint of its model.
        log: the cache of answers.
        batch_tokens: tokens of a batch, as in the inner engine.
    """

    def __init__(self, inner: TokenEngine, model: str, log: ResultCache, batch_tokens: int) -> None:
        super().__init__(inner.tokenizer)
        self._inner = inner
        self._origin = fingerprint(model, json.dumps(_versions(), sort_keys=True))
        self._log = log
        self._batch_tokens = batch_tokens
        self._seconds_kept = 0.0

    @property
    def usage(self) -> Usage:
        """See `Engine.usage`; the seconds are those that cached answers had taken to compute."""
        return Usage(seconds=self._seconds_kept)

    def generate_from_tokens(
        self, prompts: Sequence[Tokens], decoding: Decoding, advance: ProgressCallback
    ) -> list[Generation]:
        """See `Engine.generate`."""
        name = decoding.model_dump_json()
        results: dict[int, Generation] = {}
        for batch in generation_batches(prompts, decoding, self._batch_tokens):
            asked = [prompts[i] for i in batch]
            make = partial(self._inner.generate_from_tokens, asked, decoding, advance)
            answers = self._found_or_made(_GENERATION, name, asked, make, advance)
            results.update(zip(batch, answers, strict=True))
        return [results[i] for i in range(len(prompts))]

    def stream_from_tokens(
        self, prompt: Tokens, decoding: Decoding, tell: Callable[[str], object]
    ) -> Generation:
        """See `Engine.stream`; a cached answer is passed on as one piece."""
        told: list[str] = []

        def stream() -> list[Generation]:
            def note(piece: str) -> None:
                told.append(piece)
                tell(piece)

            return [self._inner.stream_from_tokens(prompt, decoding, note)]

        name = decoding.model_dump_json()
        (answer,) = self._found_or_made(_GENERATION, name, [prompt], stream, ignore_progress)
        if answer.text and not told:
            tell(answer.text)
        return answer

    def score_tokens(
        self, requests: Sequence[TokenRequest], advance: ProgressCallback
    ) -> list[Score]:
        """See `Engine.score`."""
        results: dict[int, Score] = {}
        order = sorted(range(len(requests)), key=lambda index: requests[index].context)
        for start in range(0, len(order), _SCORED_TOGETHER):
            part = order[start : start + _SCORED_TOGETHER]
            asked = [requests[index] for index in part]
            # No token id is negative, so -1 separates a context from its continuation.
            keys = [(*one.context, -1, *one.continuation) for one in asked]
            make = partial(self._inner.score_tokens, asked, advance)
            scores = self._found_or_made(_SCORE, "score", keys, make, advance)
            results.update(zip(part, scores, strict=True))
        return [results[index] for index in range(len(requests))]

    def losses_of_tokens(
        self, sequences: Sequence[Tokens], advance: ProgressCallback
    ) -> list[TextLoss]:
        """See `Engine.losses`."""
        make = partial(self._inner.losses_of_tokens, sequences, advance)
        return self._found_or_made(_LOSS, "loss", sequences, make, advance)

    def _found_or_made(
        self,
        kind: TypeAdapter[_Kept],
        name: str,
        sequences: Sequence[Sequence[int]],
        make: Callable[[], list[_Kept]],
        advance: ProgressCallback,
    ) -> list[_Kept]:
        """All answers from the cache if it has all of them; else all computed and stored.

        Args:
            kind: the type of the answers.
            name: the kind of request, or its decoding settings; a part of the keys.
            sequences: the token ids of each request.
            make: computes the answers, and reports to ``advance``.
            advance: receives the number of further answers.
        """
        keys = [fingerprint(self._origin, name, " ".join(map(str, ids))) for ids in sequences]
        found = [self._log.get(key) for key in keys]
        if (results := _read(kind, found)) is not None:
            kept = sum(value["seconds"] for value in found)
            self._seconds_kept += kept
            advance(len(results))
            return results
        started = time.monotonic()
        results = make()
        share = (time.monotonic() - started) / max(len(sequences), 1)
        made = (
            {"seconds": share, "result": kind.dump_python(result, mode="json")}
            for result in results
        )
        self._log.add(dict(zip(keys, made, strict=True)))
        return results


def _read(kind: TypeAdapter[_Kept], found: Sequence[Any]) -> list[_Kept] | None:
    """The cached results; None if one is missing or not valid."""
    try:
        for value in found:
            float(value["seconds"])
        return [kind.validate_python(value["result"]) for value in found]
    except (TypeError, KeyError, ValueError, ValidationError):
        return None


def _versions() -> dict[str, str]:
    versions = {"luthier": luthier.__version__, "code": _code()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


@cache
def _code() -> str:
    """A fingerprint of the source code that computes answers.

    The version number does not distinguish states of a working tree.
    """
    files = [path for name in _COMPUTING for path in sorted(_folder(name).rglob("*.py"))]
    return fingerprint(*(path.read_text(encoding="utf-8") for path in files))


def _folder(package: str) -> Path:
    """The folder of a package, found without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"there is no package {package}")
    return Path(spec.submodule_search_locations[0])
