"""What an engine is: the contract that local models (and, later, servers) fulfil."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Advance = Callable[[int], None]


def ignore_progress(_done: int) -> None:
    """An `Advance` that tells nobody."""


@dataclass(frozen=True, slots=True)
class Generation:
    """An answer: its tokens (without the end-of-turn token), its text, and why it ended."""

    ids: tuple[int, ...]
    text: str
    finish: Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class TextLoss:
    """The negative log-likelihood of a text in nats, over the ``tokens`` that were predicted."""

    nats: float
    tokens: int


class Engine(ABC):
    """Answers requests with a model. Results stand in the order of the requests."""

    @abstractmethod
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        advance: Advance = ignore_progress,
    ) -> list[Generation]:
        """Continue each prompt greedily until its turn ends or ``max_new_tokens`` are made."""

    @abstractmethod
    def losses(
        self, sequences: Sequence[Sequence[int]], advance: Advance = ignore_progress
    ) -> list[TextLoss]:
        """The loss of each token sequence, every token but the first being predicted."""
