"""Base classes of decoding strategies and of the rows that they continue."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from luthier.inference.local.decoding.stopping import Stopping


class Rows(ABC):
    """Unfinished answers, one a row, with the model's state for each.

    Attributes:
        logits_BV: the logits of the first token after each prompt.
        prompts: the index of each row's prompt.
    """

    def __init__(self, logits_BV: Tensor, prompts: Sequence[int]) -> None:
        self.logits_BV = logits_BV
        self.prompts = list(prompts)

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order; a row named twice is duplicated."""
        if list(rows) != list(range(len(self.prompts))):
            self.prompts = [self.prompts[row] for row in rows]
            self._select(rows)

    @abstractmethod
    def _select(self, rows: Sequence[int]) -> None:
        """Select the model's state."""

    @abstractmethod
    def step(self, tokens: Sequence[int]) -> Tensor:
        """Add a token to each row and return the logits of the next one, ``[B, vocabulary]``."""


class Decoder(ABC):
    """A decoding strategy."""

    @abstractmethod
    def decode(self, rows: Rows, stopping: Stopping) -> dict[int, list[int]]:
        """Answer a batch.

        Args:
            rows: one row for each prompt; they must not be used afterwards.
            stopping: decides when an answer is over.

        Returns:
            The tokens of each answer by prompt, the end-of-turn token included.
        """
