"""The engine that runs a model in this process."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from luthier.config import Decoding, EvaluateConfig
from luthier.inference.engine import (
    Engine,
    Generation,
    ProgressCallback,
    Score,
    ScoreRequest,
    TextLoss,
    ignore_progress,
)
from luthier.inference.local.budget import Budget
from luthier.inference.local.causal_scorer import CausalScorer
from luthier.inference.local.decoder_only import DecoderOnlyGenerator
from luthier.inference.local.decoding import Stopping
from luthier.inference.local.encoder_decoder import EncoderDecoderGenerator
from luthier.inference.local.encoder_decoder_scorer import EncoderDecoderScorer
from luthier.inference.local.generator import Generator
from luthier.inference.local.scorer import Scorer, losses_from_scores
from luthier.models.cache_support import rope_of_each_pass
from luthier.models.load import LoadedModel

# What answers and what scores, by whether a model has an encoder.
_KINDS: dict[bool, tuple[type[Generator], type[Scorer]]] = {
    False: (DecoderOnlyGenerator, CausalScorer),
    True: (EncoderDecoderGenerator, EncoderDecoderScorer),
}
_USUAL_BATCH_TOKENS = EvaluateConfig().batch_tokens


class LocalEngine(Engine):
    """Generation and scoring with a model in memory.

    The model must not change while the engine is used: it keeps what prompts begin with.

    Args:
        loaded: the model; adapters and soft prompts around it are used.
        batch_tokens: the key/value cache of one batch holds at most this many tokens.
    """

    def __init__(self, loaded: LoadedModel, batch_tokens: int = _USUAL_BATCH_TOKENS) -> None:
        self._loaded = loaded
        answering, scoring = _KINDS[loaded.is_encoder_decoder]
        self._generator = answering(loaded, batch_tokens)
        self._scorer = scoring(loaded, Budget.of(loaded.device, batch_tokens))

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        decoding: Decoding,
        advance: ProgressCallback = ignore_progress,
    ) -> list[Generation]:
        """See `Engine.generate`. The model is put in evaluation mode."""
        self._loaded.model.eval()
        strings = decoding.stop + stop_strings(self._loaded)
        stopping = Stopping(
            self._loaded.tokenizer,
            stop_ids(self._loaded),
            decoding.model_copy(update={"stop": strings}),
        )
        with rope_of_each_pass(self._loaded.model):
            answers = self._generator.generate(prompts, decoding, stopping, advance)
        return [stopping.generation(ids) for ids in answers]

    @torch.inference_mode()
    def score(
        self, requests: Sequence[ScoreRequest], advance: ProgressCallback = ignore_progress
    ) -> list[Score]:
        """See `Engine.score`. The model is put in evaluation mode."""
        self._loaded.model.eval()
        with rope_of_each_pass(self._loaded.model):
            return self._scorer.score(requests, advance)

    def losses(
        self, sequences: Sequence[Sequence[int]], advance: ProgressCallback = ignore_progress
    ) -> list[TextLoss]:
        """See `Engine.losses`."""
        # An encoder-decoder model says the whole text to an empty question.
        given = 0 if self._loaded.is_encoder_decoder else 1
        return losses_from_scores(self.score, sequences, given, advance)


def stop_ids(loaded: LoadedModel) -> frozenset[int]:
    """The tokens that end a turn: the tokenizer's and the generation config's."""
    configured = loaded.model.generation_config.eos_token_id
    values = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in [*values, loaded.tokenizer.eos_token_id] if i is not None)


def stop_strings(loaded: LoadedModel) -> tuple[str, ...]:
    """The texts before which an answer ends, by the generation config."""
    configured = loaded.model.generation_config.stop_strings or ()
    return (configured,) if isinstance(configured, str) else tuple(configured)
