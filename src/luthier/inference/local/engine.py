"""The engine that runs a model in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from luthier.config import Beam, Decoding, EvaluateConfig
from luthier.inference.engine import (
    Generation,
    ProgressCallback,
    Score,
    TextLoss,
    ignore_progress,
)
from luthier.inference.local.budget import Budget
from luthier.inference.local.causal_scorer import CausalScorer
from luthier.inference.local.decoder_only import DecoderOnlyGenerator
from luthier.inference.local.decoding import Stopping, StreamedStopping
from luthier.inference.local.encoder_decoder import EncoderDecoderGenerator
from luthier.inference.local.encoder_decoder_scorer import EncoderDecoderScorer
from luthier.inference.local.generator import Generator
from luthier.inference.local.scorer import Scorer, losses_from_scores
from luthier.inference.token_engine import TokenEngine
from luthier.inference.tokenise import PromptTokenizer, TokenRequest, Tokens
from luthier.models.cache_support import rope_of_each_pass
from luthier.models.load import LoadedModel

# Generator and scorer, by whether a model has an encoder.
_KINDS: dict[bool, tuple[type[Generator], type[Scorer]]] = {
    False: (DecoderOnlyGenerator, CausalScorer),
    True: (EncoderDecoderGenerator, EncoderDecoderScorer),
}
_USUAL_BATCH_TOKENS = EvaluateConfig().batch_tokens


class LocalEngine(TokenEngine):
    """Generation and scoring with a model in memory.

    The model must not change while the engine is used, because the engine has a prefix cache.

    Args:
        loaded: the model, with its adapters and soft prompts.
        batch_tokens: the limit of a batch's KV cache, in tokens.
    """

    def __init__(self, loaded: LoadedModel, batch_tokens: int = _USUAL_BATCH_TOKENS) -> None:
        encodes = loaded.is_encoder_decoder
        super().__init__(
            PromptTokenizer(loaded.tokenizer, loaded.context_window, encoder_decoder=encodes)
        )
        self._loaded = loaded
        answering, scoring = _KINDS[encodes]
        self._generator = answering(loaded, batch_tokens)
        self._scorer = scoring(loaded, Budget.of(loaded.device, batch_tokens))

    def generate_from_tokens(
        self, prompts: Sequence[Tokens], decoding: Decoding, advance: ProgressCallback
    ) -> list[Generation]:
        """See `Engine.generate`. The model is put in evaluation mode."""
        stopping = Stopping(self._loaded.tokenizer, stop_ids(self._loaded), self._stopped(decoding))
        return self._generate(prompts, decoding, stopping, advance)

    def stream_from_tokens(
        self, prompt: Tokens, decoding: Decoding, tell: Callable[[str], object]
    ) -> Generation:
        """See `Engine.stream`. A beam search passes the whole text at its end."""
        if isinstance(decoding.strategy, Beam):
            return super().stream_from_tokens(prompt, decoding, tell)
        stopping = StreamedStopping(
            self._loaded.tokenizer, stop_ids(self._loaded), self._stopped(decoding), tell
        )
        (answer,) = self._generate([prompt], decoding, stopping, ignore_progress)
        return answer

    @torch.inference_mode()
    def _generate(
        self,
        prompts: Sequence[Tokens],
        decoding: Decoding,
        stopping: Stopping,
        advance: ProgressCallback,
    ) -> list[Generation]:
        self._loaded.model.eval()
        with rope_of_each_pass(self._loaded.model):
            answers = self._generator.generate(prompts, decoding, stopping, advance)
        return [stopping.generation(ids) for ids in answers]

    def _stopped(self, decoding: Decoding) -> Decoding:
        """The decoding settings with the model's own stop strings added."""
        return decoding.model_copy(update={"stop": decoding.stop + stop_strings(self._loaded)})

    @torch.inference_mode()
    def score_tokens(
        self, requests: Sequence[TokenRequest], advance: ProgressCallback
    ) -> list[Score]:
        """See `Engine.score`. The model is put in evaluation mode."""
        self._loaded.model.eval()
        with rope_of_each_pass(self._loaded.model):
            return self._scorer.score(requests, advance)

    def losses_of_tokens(
        self, sequences: Sequence[Tokens], advance: ProgressCallback
    ) -> list[TextLoss]:
        """See `Engine.losses`."""
        # An encoder-decoder model predicts the whole text after an empty input.
        given = 0 if self._loaded.is_encoder_decoder else 1
        return losses_from_scores(self.score_tokens, sequences, given, advance)


def stop_ids(loaded: LoadedModel) -> frozenset[int]:
    """The tokens that end a turn: the tokenizer's and the generation config's."""
    configured = loaded.model.generation_config.eos_token_id
    values = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in [*values, loaded.tokenizer.eos_token_id] if i is not None)


def stop_strings(loaded: LoadedModel) -> tuple[str, ...]:
    """The stop strings of the generation config."""
    configured = loaded.model.generation_config.stop_strings or ()
    return (configured,) if isinstance(configured, str) else tuple(configured)
