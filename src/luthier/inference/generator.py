"""What makes token ids: one kind for causal models, one for encoder-decoder models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch

from luthier.inference.engine import Advance
from luthier.inference.soft_prompt import unwrap_soft_prompt
from luthier.models.load import LoadedModel


class Generator(ABC):
    """Generates greedily.

    Args:
        loaded: the model; a soft prompt around it is taken apart.
        batch_tokens: the key/value cache of one batch holds at most this many tokens.
        stop_ids: the tokens that end an answer.
    """

    def __init__(self, loaded: LoadedModel, batch_tokens: int, stop_ids: frozenset[int]) -> None:
        self.stop_ids = stop_ids
        self._device = loaded.device
        self._model, self._soft_prompt = unwrap_soft_prompt(loaded.model)
        self._batch_tokens = batch_tokens
        self._stops = torch.tensor(sorted(stop_ids), device=loaded.device)

    @abstractmethod
    def generate(
        self, prompts: Sequence[Sequence[int]], max_new_tokens: int, advance: Advance
    ) -> list[list[int]]:
        """The new tokens of each prompt, the stop token included where one was made."""
