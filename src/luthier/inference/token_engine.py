"""Base class of engines that tokenise prompts in this process."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

from luthier.config import Decoding
from luthier.inference.engine import (
    Engine,
    Generation,
    ProgressCallback,
    Score,
    ScoreRequest,
    TextLoss,
    ignore_progress,
)
from luthier.inference.tokenise import PromptTokenizer, TokenRequest, Tokens
from luthier.prompts.prompt import Content


class TokenEngine(Engine):
    """An engine that runs in this process and takes token ids.

    Args:
        tokenizer: turns prompts into the model's tokens.
    """

    def __init__(self, tokenizer: PromptTokenizer) -> None:
        self.tokenizer = tokenizer

    def generate(
        self,
        prompts: Sequence[Content],
        decoding: Decoding,
        advance: ProgressCallback = ignore_progress,
    ) -> list[Generation]:
        """See `Engine.generate`."""
        return self.generate_from_tokens(
            [self.tokenizer.ids(prompt) for prompt in prompts], decoding, advance
        )

    def stream(
        self, prompt: Content, decoding: Decoding, tell: Callable[[str], object]
    ) -> Generation:
        """See `Engine.stream`."""
        return self.stream_from_tokens(self.tokenizer.ids(prompt), decoding, tell)

    def score(
        self,
        requests: Sequence[ScoreRequest[Content]],
        advance: ProgressCallback = ignore_progress,
    ) -> list[Score]:
        """See `Engine.score`."""
        asked = [self.tokenizer.request(request) for request in requests]
        return self.score_tokens(asked, advance)

    def losses(
        self, texts: Sequence[Content], advance: ProgressCallback = ignore_progress
    ) -> list[TextLoss]:
        """See `Engine.losses`."""
        return self.losses_of_tokens([self.tokenizer.ids(text) for text in texts], advance)

    @abstractmethod
    def generate_from_tokens(
        self, prompts: Sequence[Tokens], decoding: Decoding, advance: ProgressCallback
    ) -> list[Generation]:
        """See `Engine.generate`."""

    def stream_from_tokens(
        self, prompt: Tokens, decoding: Decoding, tell: Callable[[str], object]
    ) -> Generation:
        """See `Engine.stream`."""
        return super().stream(prompt, decoding, tell)

    @abstractmethod
    def score_tokens(
        self, requests: Sequence[TokenRequest], advance: ProgressCallback
    ) -> list[Score]:
        """See `Engine.score`."""

    @abstractmethod
    def losses_of_tokens(
        self, sequences: Sequence[Tokens], advance: ProgressCallback
    ) -> list[TextLoss]:
        """See `Engine.losses`."""
