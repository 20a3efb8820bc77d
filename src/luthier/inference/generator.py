"""What makes token ids: one kind for causal models, one for encoder-decoder models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from luthier.config import Decoding
from luthier.inference.decoding import Rows, Stopping, decoder_for
from luthier.inference.engine import Advance
from luthier.inference.grouping import generation_batches
from luthier.inference.soft_prompt import unwrap_soft_prompt
from luthier.models.load import LoadedModel


class Generator(ABC):
    """Generates token ids; see `LocalEngine`.

    Args:
        loaded: the model; a soft prompt around it is taken apart.
        batch_tokens: the key/value cache of one batch holds at most this many tokens.
    """

    def __init__(self, loaded: LoadedModel, batch_tokens: int) -> None:
        self._device = loaded.device
        self._model, self._soft_prompt = unwrap_soft_prompt(loaded.model)
        self._batch_tokens = batch_tokens

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        decoding: Decoding,
        stopping: Stopping,
        advance: Advance,
    ) -> list[list[int]]:
        """The new tokens of each prompt, the one that ends the turn included."""
        decoder = decoder_for(decoding.strategy, prompts)
        answers: dict[int, list[int]] = {}
        for batch in generation_batches(prompts, decoding, self._batch_tokens):
            answers |= decoder.decode(self._start(prompts, batch), stopping)
            advance(len(batch))
        return [answers[index] for index in range(len(prompts))]

    @abstractmethod
    def _start(self, prompts: Sequence[Sequence[int]], batch: Sequence[int]) -> Rows:
        """Compute the prompts of a batch."""
