"""What an engine is: the contract that local models (and, later, servers) fulfil."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from luthier.config import Decoding

ProgressCallback = Callable[[int], None]


def ignore_progress(_done: int) -> None:
    """An `ProgressCallback` that tells nobody."""


@dataclass(frozen=True, slots=True)
class Generation:
    """An answer.

    Attributes:
        ids: the tokens that were made, without the end-of-turn token.
        text: what they say, up to a stop string, without spaces around it.
        finish: ``stop`` at the end of the turn or at a stop string, ``length`` where the answer
            would have gone on.
    """

    ids: tuple[int, ...]
    text: str
    finish: Literal["stop", "length"]


def before_stop(text: str, stops: Sequence[str]) -> str | None:
    """The text before the first of some stop strings; None where there is none."""
    places = [place for string in stops if (place := text.find(string)) >= 0]
    return text[: min(places)] if places else None


@dataclass(frozen=True, slots=True)
class TextLoss:
    """The negative log-likelihood of a text in nats, over the ``tokens`` that were predicted."""

    nats: float
    tokens: int


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """How likely is ``continuation`` after ``context``? Both are token ids.

    Attributes:
        context: may be empty where the model has a token that texts begin with (or else one that
            they end with), which then stands for it, as in lm-evaluation-harness. An
            encoder-decoder model reads it with its encoder.
        continuation: at least one token. An encoder-decoder model says it with its decoder.
    """

    context: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """The answer to a `ScoreRequest`.

    Attributes:
        logprob: in nats, summed over the continuation.
        greedy: whether greedy decoding after the context gives exactly this continuation.
    """

    logprob: float
    greedy: bool


class Engine(ABC):
    """Answers requests with a model. Results stand in the order of the requests."""

    @abstractmethod
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        decoding: Decoding,
        advance: ProgressCallback = ignore_progress,
    ) -> list[Generation]:
        """Continue each prompt until its turn ends, as ``decoding`` says.

        ``advance`` is told how many more are answered.

        Raises:
            UsageError: this engine does not know the strategy.
        """

    @abstractmethod
    def score(
        self, requests: Sequence[ScoreRequest], advance: ProgressCallback = ignore_progress
    ) -> list[Score]:
        """The log-probability of each continuation after its context.

        Requests that begin alike are computed together, in whatever order they come; ``advance``
        is told how many more are answered.

        Raises:
            UsageError: a continuation is empty, or a context is and nothing can stand for it.
            DataError: a log-probability is not finite.
        """

    @abstractmethod
    def losses(
        self, sequences: Sequence[Sequence[int]], advance: ProgressCallback = ignore_progress
    ) -> list[TextLoss]:
        """The loss of each token sequence.

        A causal model predicts every token but the first, an encoder-decoder model every token.
        """
