"""Prompts as tokens of one model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from luthier.config import PromptConfig
from luthier.core.errors import UsageError
from luthier.core.example import Example
from luthier.inference.engine import ScoreRequest
from luthier.prompts.prompt import Content, Conversation
from luthier.prompts.render import PromptRenderer
from luthier.prompts.tokens import Encoder, Tokenizer

Tokens = tuple[int, ...]
TokenRequest = ScoreRequest[Tokens]


class PromptTokenizer:
    """Turns prompts and score requests into token ids.

    Args:
        tokenizer: the model's tokenizer.
        context_window: the model's context window, in tokens.
        encoder_decoder: whether an encoder reads the prompts.
    """

    def __init__(
        self, tokenizer: Tokenizer, context_window: int, *, encoder_decoder: bool = False
    ) -> None:
        self.tokenizer = tokenizer
        self._window, self._encoder_decoder = context_window, encoder_decoder

    def ids(self, content: Content) -> Tokens:
        """The tokens of a prompt.

        Text gets the tokenizer's first special tokens; special tokens spelled out in it stay text.
        A conversation is rendered with the chat template, or as plain text if there is none.

        Raises:
            DataError: the chat template refuses the conversation.
        """
        if isinstance(content, str):
            return begun_ids(content, self._encoder, self._encoder_decoder)
        if isinstance(content, Conversation):
            return self._renderer.prompt(Example("prompt", content.messages, ())).ids
        return tuple(content)

    def request(self, request: ScoreRequest[Content]) -> TokenRequest:
        """The tokens of a context and its continuation.

        Raises:
            UsageError: one is text and the other is not, or the context is a conversation.
        """
        context, continuation = request.context, request.continuation
        if isinstance(context, str) and isinstance(continuation, str):
            return self._joined(context, continuation)
        if isinstance(context, str | Conversation) or isinstance(continuation, str | Conversation):
            raise UsageError(
                "a continuation is scored after text as text, or after token ids as token ids",
                fix="write the conversation as text first",
            )
        return ScoreRequest(tuple(context), tuple(continuation))

    def _joined(self, context: str, continuation: str) -> TokenRequest:
        def ids(text: str) -> Tokens:
            return begun_ids(text, self._encoder, self._encoder_decoder)

        (request,) = joined(
            context, [continuation], ids, self._encoder.literal_ids, self._encoder_decoder
        )
        return request

    @cached_property
    def _encoder(self) -> Encoder:
        return Encoder(self.tokenizer)

    @cached_property
    def _renderer(self) -> PromptRenderer:
        return PromptRenderer.from_config(
            PromptConfig(),
            self.tokenizer,
            context_window=self._window,
            encoder_decoder=self._encoder_decoder,
        )


def begun_ids(text: str, encoder: Encoder, encoder_decoder: bool) -> Tokens:
    """The tokens of a text, with the tokenizer's first special tokens.

    The tokenizer's last special tokens are added only for an encoder, because a causal model
    continues the text.
    """
    if encoder_decoder:
        return encoder.literal_ids(text, add_special_tokens=True)
    return encoder.begin + encoder.literal_ids(text)


def joined(
    context: str,
    continuations: Sequence[str],
    ids: Callable[[str], Tokens],
    literal_ids: Callable[[str], Tokens],
    encoder_decoder: bool,
) -> list[TokenRequest]:
    """The tokens of a context and of each text that may follow it.

    The steps are those of lm-evaluation-harness. Spaces at the end of the context are moved into
    the continuation, both are tokenised together, and the tokens are cut after as many as the
    context has. If this would leave the continuation empty, because its beginning shares a token
    with the context, the cut is before that token. For an encoder-decoder model, both parts are
    tokenised separately.

    Args:
        context: the text before.
        continuations: the texts that may follow.
        ids: tokenises a text and adds the tokenizer's first special tokens.
        literal_ids: tokenises a text and adds no special tokens.
        encoder_decoder: whether an encoder reads the context.
    """
    kept, texts = moved_spaces(context, continuations)
    before = ids(kept) if kept or encoder_decoder else ()
    if encoder_decoder or not kept:
        return [ScoreRequest(before, literal_ids(text)) for text in texts]
    return [_cut(before, ids(kept + text)) for text in texts]


def moved_spaces(context: str, continuations: Sequence[str]) -> tuple[str, list[str]]:
    """A context without the spaces at its end, and continuations that begin with them."""
    kept = context.rstrip()
    return kept, [context[len(kept) :] + continuation for continuation in continuations]


def _cut(before: Sequence[int], whole: Sequence[int]) -> TokenRequest:
    """A text cut after its context's tokens, or before the first token that differs from them."""
    place = len(before)
    if len(whole) <= place:
        pairs = zip(before, whole, strict=False)
        place = next((i for i, (a, b) in enumerate(pairs) if a != b), len(whole) - 1)
    return ScoreRequest(tuple(whole[:place]), tuple(whole[place:]))
