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
    """A `ProgressCallback` that does nothing."""


@dataclass(frozen=True, slots=True)
class Generation:
    """An answer.

    Attributes:
        ids: the generated tokens, without the end-of-turn token.
        text: their text up to a stop string, without spaces around it.
        finish: ``stop`` at the end of the turn or at a stop string, ``length`` if the token limit
            cut the answer off.
    """

    ids: tuple[int, ...]
    text: str
    finish: Literal["stop", "length"]


def before_stop(text: str, stops: Sequence[str]) -> str | None:
    """The text before the first stop string; None if it contains none."""
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
    """A request for the log-probability of ``continuation`` after ``context``.

    Both are token ids or both are text. Text is tokenised whole.

    Attributes:
        context: may be empty if the tokenizer has a BOS or an EOS token; the first of these that
            exists replaces an empty context, as in lm-evaluation-harness. An encoder-decoder
            model reads the context with its encoder.
        continuation: at least one token. An encoder-decoder model predicts it with its decoder.
    """

    context: C_co
    continuation: C_co


@dataclass(frozen=True, slots=True)
class Score:
    """The result of a `ScoreRequest`.

    Attributes:
        logprob: log-probability in nats, summed over the continuation.
        greedy: whether greedy decoding after the context yields exactly this continuation.
    """

    logprob: float
    greedy: bool


class Usage(NamedTuple):
    """The part of the cost of answers that only the engine can measure.

    Attributes:
        seconds: the time that answers found in a cache took when they were generated.
        prompt_tokens: prompt tokens that only the engine can count.
        generated_tokens: generated tokens that only the engine can count.
    """

    seconds: float = 0.0
    prompt_tokens: int = 0
    generated_tokens: int = 0

    def since(self, before: Usage) -> Usage:
        """The usage added since ``before``."""
        return Usage(
            self.seconds - before.seconds,
            self.prompt_tokens - before.prompt_tokens,
            self.generated_tokens - before.generated_tokens,
        )


class Engine(ABC):
    """Answers requests with a model. Results are in the order of the requests."""

    @property
    def usage(self) -> Usage:
        """The cost so far that only this engine can measure: none, for most engines."""
        return Usage()

    @abstractmethod
    def generate(
        self,
        prompts: Sequence[Content],
        decoding: Decoding,
        advance: ProgressCallback = ignore_progress,
    ) -> list[Generation]:
        """Generate an answer to each prompt with the decoding strategy of ``decoding``.

        ``advance`` is called with the number of newly answered prompts.

        Raises:
            UsageError: this engine does not support the strategy or this kind of prompt.
        """

    def stream(
        self, prompt: Content, decoding: Decoding, tell: Callable[[str], object]
    ) -> Generation:
        """Answer one prompt, and stream each piece of the text as soon as it is known.

        Args:
            prompt: the prompt.
            decoding: the decoding settings.
            tell: receives the pieces, which together are the text of the answer. An engine that
                cannot stream passes the whole text at once.

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

        Requests with a common prefix are computed together, whatever their order. ``advance`` is
        called with the number of newly answered requests.

        Raises:
            UsageError: a continuation is empty; a context is empty and the tokenizer has neither
                a BOS nor an EOS token; or this engine does not score this kind of prompt.
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
