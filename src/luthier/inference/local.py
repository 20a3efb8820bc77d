"""The engine that runs a model in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from luthier.config import Decoding, Greedy
from luthier.core.errors import UsageError
from luthier.inference.budget import Budget, usual_batch_tokens
from luthier.inference.causal_scorer import CausalScorer
from luthier.inference.decoder_only import DecoderOnlyGenerator
from luthier.inference.encoder_decoder import EncoderDecoderGenerator
from luthier.inference.encoder_decoder_scorer import EncoderDecoderScorer
from luthier.inference.engine import (
    Advance,
    Engine,
    Generation,
    Score,
    ScoreRequest,
    TextLoss,
    ignore_progress,
)
from luthier.inference.generator import Generator
from luthier.inference.scorer import Scorer, losses_from_scores
from luthier.models.load import LoadedModel

# What answers and what scores, by whether a model has an encoder.
_KINDS: dict[bool, tuple[type[Generator], type[Scorer]]] = {
    False: (DecoderOnlyGenerator, CausalScorer),
    True: (EncoderDecoderGenerator, EncoderDecoderScorer),
}


class LocalEngine(Engine):
    """Greedy generation and scoring with a model in memory.

    Args:
        loaded: the model; adapters and soft prompts around it are used.
        batch_tokens: the key/value cache of one batch holds at most this many tokens; None: as
            many as fill a part of the free memory.
    """

    def __init__(self, loaded: LoadedModel, batch_tokens: int | None = None) -> None:
        self._loaded = loaded
        batch_tokens = batch_tokens or usual_batch_tokens(loaded)
        answering, scoring = _KINDS[loaded.is_encoder_decoder]
        self._generator = answering(loaded, batch_tokens, stop_ids(loaded))
        self._scorer = scoring(loaded, Budget.of(loaded.device, batch_tokens))

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        decoding: Decoding,
        advance: Advance = ignore_progress,
    ) -> list[Generation]:
        """See `Engine.generate`. The model is put in evaluation mode."""
        self._loaded.model.eval()
        if not isinstance(decoding.strategy, Greedy):
            raise UsageError(f"{decoding.strategy.strategy} is not implemented yet")
        tokens = self._generator.generate(prompts, decoding.max_new_tokens, advance)
        return [self._finish(ids, decoding.stop) for ids in tokens]

    @torch.inference_mode()
    def score(
        self, requests: Sequence[ScoreRequest], advance: Advance = ignore_progress
    ) -> list[Score]:
        """See `Engine.score`. The model is put in evaluation mode."""
        self._loaded.model.eval()
        return self._scorer.score(requests, advance)

    def losses(
        self, sequences: Sequence[Sequence[int]], advance: Advance = ignore_progress
    ) -> list[TextLoss]:
        """See `Engine.losses`."""
        # An encoder-decoder model says the whole text to an empty question.
        given = 0 if self._loaded.is_encoder_decoder else 1
        return losses_from_scores(self.score, sequences, given, advance)

    def _finish(self, ids: list[int], stop: Sequence[str]) -> Generation:
        ended = bool(ids) and ids[-1] in self._generator.stop_ids
        kept = ids[:-1] if ended else ids
        text = self._loaded.tokenizer.decode(kept, skip_special_tokens=True)
        places = [place for string in stop if (place := text.find(string)) >= 0]
        finish: Literal["stop", "length"] = "stop" if ended or places else "length"
        return Generation(tuple(kept), text[: min(places, default=None)].strip(), finish)


def stop_ids(loaded: LoadedModel) -> frozenset[int]:
    """The tokens that end a turn: the tokenizer's and the generation config's."""
    configured = loaded.model.generation_config.eos_token_id
    values = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in [*values, loaded.tokenizer.eos_token_id] if i is not None)
