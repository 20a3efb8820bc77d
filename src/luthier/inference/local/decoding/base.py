"""What a strategy of decoding is, and what it works on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from luthier.inference.local.decoding.stopping import Stopping


class Rows(ABC):
    """Answers that are being made, and the model's state for each.

    Attributes:
        logits_BV: of the first token after each prompt.
        prompts: which prompt each row answers.
    """

    def __init__(self, logits_BV: Tensor, prompts: Sequence[int]) -> None:
        self.logits_BV = logits_BV
        self.prompts = list(prompts)

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order; one that is named twice becomes two."""
        if list(rows) != list(range(len(self.prompts))):
            self.prompts = [self.prompts[row] for row in rows]
            self._select(rows)

    @abstractmethod
    def _select(self, rows: Sequence[int]) -> None:
        """Select the model's state."""

    @abstractmethod
    def step(self, tokens: Sequence[int]) -> Tensor:
        """Add a token to each row; the logits of the next one, ``[B, vocabulary]``."""


class Decoder(ABC):
    """A strategy of decoding."""

    @abstractmethod
    def decode(self, rows: Rows, stopping: Stopping) -> dict[int, list[int]]:
        """Answer a batch.

        Args:
            rows: the prompts, a row each; they are used up.
            stopping: says when an answer is over.

        Returns:
            The tokens of each answer by prompt, the one that ends the turn included.
        """
