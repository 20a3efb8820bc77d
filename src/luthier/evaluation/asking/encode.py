"""Encoding of task questions as prompts, and of their answers as continuations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Generic, NamedTuple, TypeVar

from luthier.core.errors import DataError
from luthier.core.example import Example
from luthier.inference import ScoreRequest
from luthier.inference.tokenise import TokenRequest, Tokens, begun_ids, joined
from luthier.prompts.answers import AnswerReader
from luthier.prompts.prompt import Content, Conversation, Prompt, TokenPrompt
from luthier.prompts.render import PromptRenderer
from luthier.prompts.tokens import Encoder, Tokenizer
from luthier.tasks.item import Asked, Question

C = TypeVar("C", bound=Content)


class Fitted(NamedTuple):
    """A prompt that leaves room for its answer.

    Attributes:
        prompt: the prompt.
        is_cut: whether it was truncated from the left to fit.
    """

    prompt: Prompt
    is_cut: bool


class TaskEncoder(ABC, Generic[C]):
    """An encoder of task questions for one model, in tokens or as text for a server.

    ``C`` is the content type of its requests.
    """

    writes_turns: ClassVar[bool] = False
    """Whether questions and few-shot examples are turns of a conversation."""

    @property
    def uses_chat_template(self) -> bool:
        """Whether questions go through the model's chat template."""
        return self.writes_turns

    @property
    @abstractmethod
    def reader(self) -> AnswerReader:
        """The reader that finds the answer in a generated text."""

    @abstractmethod
    def context(self, asked: Asked) -> str | Conversation:
        """The context before an answer, in the form that the model receives.

        Raises:
            DataError: the chat template refuses the conversation.
        """

    @abstractmethod
    def shown(self, context: str | Conversation) -> str:
        """A context in the form that people read."""

    @abstractmethod
    def room_beside(self, answer_tokens: int) -> int | None:
        """The maximum tokens of a context beside an answer; None: only the server knows it."""

    @abstractmethod
    def has_room(self, question: Question, answer_tokens: int) -> bool:
        """True if a question fits together with an answer of ``answer_tokens`` tokens."""

    @abstractmethod
    def prompt(self, question: Question, answer_tokens: int) -> Fitted:
        """The prompt for a generated answer to a question, truncated if it does not fit."""

    @abstractmethod
    def pairs(
        self, context: str | Conversation, continuations: Sequence[str]
    ) -> list[ScoreRequest[C]]:
        """Scoring requests for a context with each of its continuations.

        See `luthier.inference.tokenise.joined`.
        """

    @abstractmethod
    def fits(self, request: ScoreRequest[C]) -> bool:
        """True if a request fits into the context window without truncation."""

    @abstractmethod
    def cut(self, request: ScoreRequest[C], where: str) -> ScoreRequest[C]:
        """The request with its context truncated from the left as far as necessary.

        Raises:
            DataError: the continuation does not fit even without a context.
        """

    @abstractmethod
    def windows(self, text: str) -> list[ScoreRequest[C]]:
        """Scoring requests that together predict each token of a text once."""


@dataclass(frozen=True)  # no slots: they exclude cached properties
class TextEncoder(TaskEncoder[Tokens]):
    """An encoder of plain text, with the tokens that the tokenizer puts before texts (BOS).

    Attributes:
        tokenizer: the model's tokenizer.
        context_window: the model's context window in tokens.
        encoder_decoder: whether an encoder reads the context; context and continuation are then
            tokenised separately.
    """

    tokenizer: Tokenizer
    context_window: int
    encoder_decoder: bool = False

    def context(self, asked: Asked) -> str:
        """See `TaskEncoder.context`."""
        return asked.text

    def shown(self, context: str | Conversation) -> str:
        """See `TaskEncoder.shown`."""
        return text_of(context)

    def ids(self, text: str) -> Tokens:
        """The token ids of a context: a text to continue, or the whole input of an encoder."""
        return begun_ids(text, self._encoder, self.encoder_decoder)

    def literal_ids(self, text: str) -> Tokens:
        """The token ids of a text without added ones; special tokens in it count as plain text."""
        return self._encoder.literal_ids(text)

    def room_beside(self, answer_tokens: int) -> int:
        """See `TaskEncoder.room_beside`."""
        return self.context_window - (0 if self.encoder_decoder else answer_tokens)

    def has_room(self, question: Question, answer_tokens: int) -> bool:
        """See `TaskEncoder.has_room`."""
        return len(self.ids(text_of(question.context))) <= self.room_beside(answer_tokens)

    def prompt(self, question: Question, answer_tokens: int) -> Fitted:
        """See `TaskEncoder.prompt`."""
        ids, room = self.ids(text_of(question.context)), self.room_beside(answer_tokens)
        return Fitted(TokenPrompt(self.shortened(ids, room), question.prompt), len(ids) > room)

    def pairs(
        self, context: str | Conversation, continuations: Sequence[str]
    ) -> list[TokenRequest]:
        """See `TaskEncoder.pairs`."""
        text = text_of(context)
        return joined(text, continuations, self.ids, self.literal_ids, self.encoder_decoder)

    def fits(self, request: TokenRequest) -> bool:
        """See `TaskEncoder.fits`; the last token is predicted, but never read."""
        if self.encoder_decoder:
            return len(request.context) <= self.context_window
        return len(request.context) + len(request.continuation) <= self.context_window + 1

    def shortened(self, ids: Tokens, room: int) -> Tokens:
        """A context truncated from the left to ``room`` tokens, with its BOS token kept.

        Models such as Gemma and Llama depend on the BOS token. The text after it loses its
        beginning: first the system text, then few-shot examples. Without a BOS token the last
        ``room`` tokens remain, as in lm-evaluation-harness.
        """
        if len(ids) <= room:
            return ids
        begin = ids[: self._num_beginning(ids)]
        kept = room - len(begin)
        return (*begin, *ids[len(ids) - kept :]) if kept > 0 else ids[-room:]

    def cut(self, request: TokenRequest, where: str) -> TokenRequest:
        """See `TaskEncoder.cut`."""
        if self.fits(request):
            return request
        room = self.room_beside(len(request.continuation) - 1)
        if room < 1:
            raise DataError(
                f"the answer has {len(request.continuation)} tokens, and the context window of "
                f"the model {self.context_window}",
                where=where,
                fix="leave it out, or use a model with a longer context window",
            )
        return ScoreRequest(self.shortened(request.context, room), request.continuation)

    def windows(self, text: str) -> list[TokenRequest]:
        """See `TaskEncoder.windows`."""
        return list(windows(self.literal_ids(text), self.context_window))

    @cached_property
    def reader(self) -> AnswerReader:
        """See `TaskEncoder.reader`."""
        return AnswerReader(self._encoder)

    def _num_beginning(self, ids: Sequence[int]) -> int:
        """The number of leading special tokens.

        Special tokens spelled out in rows are encoded as plain text, so they do not count; see
        `Encoder`.
        """
        special = self._special
        return next((n for n, token in enumerate(ids) if token not in special), len(ids))

    @cached_property
    def _special(self) -> frozenset[int]:
        added = self.tokenizer.added_tokens_decoder.items()
        named = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id)
        return frozenset(
            [*(id_ for id_, token in added if token.special), *(i for i in named if i is not None)]
        )

    @cached_property
    def _encoder(self) -> Encoder:
        return Encoder(self.tokenizer)


@dataclass(frozen=True)  # no slots: they exclude cached properties
class ChatEncoder(TextEncoder):
    """An encoder that applies a model's chat template, with few-shot examples as turns.

    It follows lm-evaluation-harness with ``--apply_chat_template --fewshot_as_multiturn``. The
    task's system text becomes the system message, and an answer begins after the template's
    generation prompt.

    Attributes:
        renderer: renders conversations.
    """

    renderer: PromptRenderer = field(kw_only=True)
    writes_turns: ClassVar[bool] = True

    @classmethod
    def of(cls, renderer: PromptRenderer) -> ChatEncoder:
        """The encoder for a renderer's model and chat template."""
        return cls(renderer.tokenizer, renderer.context_window, renderer=renderer)

    def context(self, asked: Asked) -> str:
        """See `TaskEncoder.context`; the context is the template's marked-up text."""
        return self.renderer.question(Example("question", asked.turns, ()))

    def shown(self, context: str | Conversation) -> str:
        """See `TaskEncoder.shown`."""
        return self.renderer.layout.show(text_of(context))

    def ids(self, text: str) -> Tokens:
        """The token ids of a marked-up text, without adding BOS, which the template writes."""
        return self.renderer.marked_ids(text)


def windows(ids: Sequence[int], size: int) -> Iterator[TokenRequest]:
    """Split a text into requests that predict each token once, as lm-evaluation-harness does.

    The first window has no context. The context of each further window is the token before it. The
    context of the last window is as long as the context window allows.

    Args:
        ids: the token ids of a text.
        size: the model's context window in tokens.
    """
    for start in range(0, len(ids), size):
        end = min(start + size, len(ids))
        before = max(0, end - size - 1) if start else 0
        yield ScoreRequest(tuple(ids[before:start]), tuple(ids[start:end]))


def text_of(context: str | Conversation) -> str:
    """The plain text of a context."""
    return context if isinstance(context, str) else context.text
