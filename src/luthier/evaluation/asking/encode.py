"""Contexts and continuations as tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from luthier.core.errors import DataError
from luthier.core.example import Example
from luthier.inference import ScoreRequest
from luthier.prompts.answers import AnswerReader
from luthier.prompts.render import PromptRenderer
from luthier.prompts.tokens import Encoder, Tokenizer
from luthier.tasks.item import Asked


@dataclass(frozen=True)  # no slots: they exclude cached properties
class TextEncoder:
    """Encodes plain text for one model. A text begins as the tokenizer begins texts.

    Attributes:
        tokenizer: the model's tokenizer.
        context_window: tokens that the model takes.
        encoder_decoder: the context is read by an encoder, so both parts are encoded apart.
    """

    tokenizer: Tokenizer
    context_window: int
    encoder_decoder: bool = False

    writes_turns: ClassVar[bool] = False
    """Whether questions are turns of a conversation."""

    def context(self, asked: Asked) -> str:
        """All that stands before an answer, as `ids` and `pairs` take it."""
        return asked.text

    def shown(self, context: str) -> str:
        """A context as people read it."""
        return context

    def ids(self, text: str) -> tuple[int, ...]:
        """The tokens of a text that goes on, or that an encoder reads whole.

        It begins as the tokenizer begins texts. Only what an encoder reads ends as it ends them.
        """
        if self.encoder_decoder:
            return self._encoder.literal_ids(text, add_special_tokens=True)
        return self._encoder.begin + self.literal_ids(text)

    def literal_ids(self, text: str) -> tuple[int, ...]:
        """The tokens of a text and no others; special tokens that it spells out stay text."""
        return self._encoder.literal_ids(text)

    def pairs(self, context: str, continuations: Sequence[str]) -> list[ScoreRequest]:
        """The tokens of a context and of each text that may follow it.

        As lm-evaluation-harness does it: spaces at the end of the context are moved into the
        continuation, both are tokenised together, and the tokens are cut where those of the
        context alone end; but where nothing would be left of the continuation, because its
        beginning shares a token with the context, they are cut before that token.
        """
        kept = context.rstrip()
        texts = [context[len(kept) :] + continuation for continuation in continuations]
        before = self.ids(kept) if kept or self.encoder_decoder else ()
        if self.encoder_decoder or not kept:
            return [ScoreRequest(before, self.literal_ids(text)) for text in texts]
        return [_cut(before, self.ids(kept + text)) for text in texts]

    def fits(self, request: ScoreRequest) -> bool:
        """Whether the model takes the request whole; its last token is only predicted."""
        if self.encoder_decoder:
            return len(request.context) <= self.context_window
        return len(request.context) + len(request.continuation) <= self.context_window + 1

    def shortened(self, ids: tuple[int, ...], room: int) -> tuple[int, ...]:
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

    def cut(self, request: ScoreRequest, where: str) -> ScoreRequest:
        """The request with a context that is `shortened` as far as it does not fit.

        Raises:
            DataError: the continuation alone does not fit.
        """
        if self.fits(request):
            return request
        answer = 0 if self.encoder_decoder else len(request.continuation) - 1
        room = self.context_window - answer
        if room < 1:
            raise DataError(
                f"the answer has {len(request.continuation)} tokens, and the context window of "
                f"the model {self.context_window}",
                where=where,
                fix="leave it out, or use a model with a longer context window",
            )
        return ScoreRequest(self.shortened(request.context, room), request.continuation)

    @cached_property
    def reader(self) -> AnswerReader:
        """Finds the answer in a generated text."""
        return AnswerReader(self._encoder)

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
        """See `TextEncoder.context`: the text that the template writes, marked up.

        Raises:
            DataError: the template refuses the conversation, or leaves a part of it out.
        """
        return self.renderer.question(Example("question", asked.turns, ()))

    def shown(self, context: str) -> str:
        """See `TextEncoder.shown`."""
        return self.renderer.layout.show(context)

    def ids(self, text: str) -> tuple[int, ...]:
        """The tokens of a marked-up text; the template writes the token that begins texts."""
        return self.renderer.marked_ids(text)


def _cut(before: Sequence[int], whole: Sequence[int]) -> ScoreRequest:
    """A text cut where its context ends, or where it parts from it."""
    place = len(before)
    if len(whole) <= place:
        pairs = zip(before, whole, strict=False)
        place = next((i for i, (a, b) in enumerate(pairs) if a != b), len(whole) - 1)
    return ScoreRequest(tuple(whole[:place]), tuple(whole[place:]))
