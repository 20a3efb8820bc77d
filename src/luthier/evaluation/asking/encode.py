"""Questions of tasks as prompts, and their answers as continuations, in the tokens of a model."""

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
        is_cut: whether it lost its beginning for that.
    """

    prompt: Prompt
    is_cut: bool


class TaskEncoder(ABC, Generic[C]):
    """Writes the questions of tasks for one model: in tokens, or for a server.

    ``C`` is what its requests are made of.
    """

    writes_turns: ClassVar[bool] = False
    """Whether questions are turns of a conversation."""

    @property
    def uses_chat_template(self) -> bool:
        """Whether the model's chat template writes the questions."""
        return self.writes_turns

    @property
    @abstractmethod
    def reader(self) -> AnswerReader:
        """Finds the answer in a generated text."""

    @abstractmethod
    def context(self, asked: Asked) -> str | Conversation:
        """All that stands before an answer.

        Raises:
            DataError: the chat template refuses the conversation.
        """

    @abstractmethod
    def shown(self, context: str | Conversation) -> str:
        """A context for people."""

    @abstractmethod
    def room_beside(self, answer_tokens: int) -> int | None:
        """Tokens that a context may have beside an answer; None: only the server knows."""

    @abstractmethod
    def has_room(self, question: Question, answer_tokens: int) -> bool:
        """Whether the model takes a question with so long an answer."""

    @abstractmethod
    def prompt(self, question: Question, answer_tokens: int) -> Fitted:
        """A question to which an answer is generated."""

    @abstractmethod
    def pairs(
        self, context: str | Conversation, continuations: Sequence[str]
    ) -> list[ScoreRequest[C]]:
        """A context with each text that may follow it; see `luthier.inference.tokenise.joined`."""

    @abstractmethod
    def fits(self, request: ScoreRequest[C]) -> bool:
        """Whether the model takes the request whole."""

    @abstractmethod
    def cut(self, request: ScoreRequest[C], where: str) -> ScoreRequest[C]:
        """The request with a context that loses its beginning as far as it does not fit.

        Raises:
            DataError: the continuation by itself does not fit.
        """

    @abstractmethod
    def windows(self, text: str) -> list[ScoreRequest[C]]:
        """Requests in which each token of a text is predicted once."""


@dataclass(frozen=True)  # no slots: they exclude cached properties
class TextEncoder(TaskEncoder[Tokens]):
    """Encodes plain text for one model. A text begins as the tokenizer begins texts.

    Attributes:
        tokenizer: the model's tokenizer.
        context_window: tokens that the model takes.
        encoder_decoder: the context is read by an encoder, so both parts are encoded apart.
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
        """The tokens of a text that goes on, or that an encoder reads whole."""
        return begun_ids(text, self._encoder, self.encoder_decoder)

    def literal_ids(self, text: str) -> Tokens:
        """The tokens of a text and no others; special tokens that it spells out stay text."""
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
        """See `TaskEncoder.fits`; the last token is only predicted."""
        if self.encoder_decoder:
            return len(request.context) <= self.context_window
        return len(request.context) + len(request.continuation) <= self.context_window + 1

    def shortened(self, ids: Tokens, room: int) -> Tokens:
        """The last ``room`` tokens of a context, behind the tokens that begin any text.

        Models such as Gemma and Llama depend on their first token (BOS), so it is kept, and the
        text behind it loses its beginning: description first, then worked examples. Tokenizers
        that add no such token get the last tokens, as in lm-evaluation-harness.
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
        """Leading special tokens. Those that rows spell out are not special; see `Encoder`."""
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
    """Writes questions with the chat template of a model, worked examples as turns.

    As lm-evaluation-harness does with ``--apply_chat_template --fewshot_as_multiturn``: the
    description is the system message, and an answer begins where the template lets one begin.

    Attributes:
        renderer: writes conversations.
    """

    renderer: PromptRenderer = field(kw_only=True)
    writes_turns: ClassVar[bool] = True

    @classmethod
    def of(cls, renderer: PromptRenderer) -> ChatEncoder:
        """The encoder of the model of a renderer, which uses its chat template."""
        return cls(renderer.tokenizer, renderer.context_window, renderer=renderer)

    def context(self, asked: Asked) -> str:
        """See `TaskEncoder.context`: the text that the template writes, marked up."""
        return self.renderer.question(Example("question", asked.turns, ()))

    def shown(self, context: str | Conversation) -> str:
        """See `TaskEncoder.shown`."""
        return self.renderer.layout.show(text_of(context))

    def ids(self, text: str) -> Tokens:
        """The tokens of a marked-up text; the template writes the token that begins texts."""
        return self.renderer.marked_ids(text)


def windows(ids: Sequence[int], size: int) -> Iterator[TokenRequest]:
    """Requests in which each token is predicted once, as lm-evaluation-harness cuts a text.

    The first window predicts its tokens from nothing. Each further one begins with the token
    before it; the last one also sees as much of what is before as the context window holds.

    Args:
        ids: the tokens of a text.
        size: the model's context window.
    """
    for start in range(0, len(ids), size):
        end = min(start + size, len(ids))
        before = max(0, end - size - 1) if start else 0
        yield ScoreRequest(tuple(ids[before:start]), tuple(ids[start:end]))


def text_of(context: str | Conversation) -> str:
    """The text of a context."""
    return context if isinstance(context, str) else context.text
