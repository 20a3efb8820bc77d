"""The contract of an engine: a model in this process, in vLLM, or on a server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

from luthier.config import Decoding
from luthier.prompts.prompt import Content

ProgressCallback = Callable[[int], None]


def ignore_progress(_done: int) -> None:
    """A `ProgressCallback` that tells nobody."""


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


C_co = TypeVar("C_co", bound=Content, covariant=True)


@dataclass(frozen=True, slots=True)
class ScoreRequest(Generic[C_co]):
    """How likely is ``continuation`` after ``context``?

    Both are token ids or both are text, which is tokenised whole.

    Attributes:
        context: may be empty where the model has a token that texts begin with (or else one that
            they end with), which then stands for it, as in lm-evaluation-harness. An
            encoder-decoder model reads it with its encoder.
        continuation: at least one token. An encoder-decoder model says it with its decoder.
    """

    context: C_co
    continuation: C_co


@dataclass(frozen=True, slots=True)
class Score:
    """The answer to a `ScoreRequest`.

    Attributes:
        logprob: in nats, summed over the continuation.
        greedy: whether greedy decoding after the context gives exactly this continuation.
    """

    logprob: float
    greedy: bool


class Usage(NamedTuple):
    """The cost of an engine's answers, as far as nobody but the engine can measure it.

    Attributes:
        seconds: the time that answers had taken when they were stored, for those that were found.
        prompt_tokens: tokens of prompts that only the engine can count.
        generated_tokens: tokens of answers that only the engine can count.
    """

    seconds: float = 0.0
    prompt_tokens: int = 0
    generated_tokens: int = 0

    def since(self, before: Usage) -> Usage:
        """The part that came after ``before``."""
        return Usage(
            self.seconds - before.seconds,
            self.prompt_tokens - before.prompt_tokens,
            self.generated_tokens - before.generated_tokens,
        )


class Engine(ABC):
    """Answers requests with a model. Results stand in the order of the requests."""

    @property
    def usage(self) -> Usage:
        """The cost of all answers so far that nobody else can measure: none, for most engines."""
        return Usage()

    @abstractmethod
    def generate(
        self,
        prompts: Sequence[Content],
        decoding: Decoding,
        advance: ProgressCallback = ignore_progress,
    ) -> list[Generation]:
        """Continue each prompt until its turn ends, as ``decoding`` says.

        ``advance`` is told how many more are answered.

        Raises:
            UsageError: this engine does not know the strategy, or this kind of prompt.
        """

    def stream(
        self, prompt: Content, decoding: Decoding, tell: Callable[[str], object]
    ) -> Generation:
        """Answer one prompt, and tell each piece of the text as soon as it is known.

        Args:
            prompt: the prompt.
            decoding: how the answer is generated.
            tell: gets the pieces, which together are the text of the answer. An engine that
                cannot stream tells the whole text at once.

        Raises:
            UsageError: as `generate`.
        """
        (answer,) = self.generate([prompt], decoding)
        if answer.text:
            tell(answer.text)
        return answer

    @abstractmethod
    def score(
        self,
        requests: Sequence[ScoreRequest[Content]],
        advance: ProgressCallback = ignore_progress,
    ) -> list[Score]:
        """The log-probability of each continuation after its context.

        Requests that begin alike are computed together, in whatever order they come; ``advance``
        is told how many more are answered.

        Raises:
            UsageError: a continuation is empty, or a context is and nothing can stand for it; or
                this engine does not score this kind of prompt.
            DataError: a log-probability is not finite.
        """

    @abstractmethod
    def losses(
        self, texts: Sequence[Content], advance: ProgressCallback = ignore_progress
    ) -> list[TextLoss]:
        """The loss of each text.

        A causal model predicts every token but the first, an encoder-decoder model every token.

        Raises:
            UsageError: this engine does not score this kind of text.
        """
