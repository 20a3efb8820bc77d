"""Base class of the generators of causal and of encoder-decoder models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from luthier.config import Decoding
from luthier.inference.engine import ProgressCallback
from luthier.inference.grouping import generation_batches
from luthier.inference.local.decoding import Constraints, Rows, Stopping, decoder_for
from luthier.inference.local.soft_prompt import conditioned
from luthier.inference.local.trial import Trial
from luthier.models.load import LoadedModel


class Generator(ABC):
    """Generates token ids; see `LocalEngine`.

    Args:
        loaded: the model; a soft prompt is separated from it.
        batch_tokens: the limit of a batch's KV cache, in tokens.
    """

    def __init__(self, loaded: LoadedModel, batch_tokens: int) -> None:
        self._device = loaded.device
        self._conditioned = conditioned(loaded.model)
        _, self._model, self._soft_prompt = self._conditioned
        self._batch_tokens = batch_tokens
        self._trial = Trial(loaded)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        decoding: Decoding,
        stopping: Stopping,
        advance: ProgressCallback,
    ) -> list[list[int]]:
        """The new tokens of each prompt, the end-of-turn token included."""
        constraints = Constraints(self._conditioned.whole, prompts, stopping)
        decoder = decoder_for(decoding.strategy, prompts, constraints)
        answers: dict[int, list[int]] = {}
        for batch in generation_batches(prompts, decoding, self._batch_tokens):
            for rows in self._start(prompts, batch, decoding.max_new_tokens):
                answers |= decoder.decode(rows, stopping)
            advance(len(batch))
        return [answers[index] for index in range(len(prompts))]

    @abstractmethod
    def _start(
        self, prompts: Sequence[Sequence[int]], batch: Sequence[int], new_tokens: int
    ) -> Iterator[Rows]:
        """Read the prompts of a batch.

        Yields:
            Rows that are answered together. Finish each before you take the next.
        """
