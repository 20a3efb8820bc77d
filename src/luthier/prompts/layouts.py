"""Layouts of conversations as text: plain, or with a chat template (`luthier.prompts.chat`).

A conversation is one text, which is tokenised whole. Spans are the places of its answers. The text
before an answer is the prompt at inference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from luthier.core.example import Message
from luthier.prompts.answers import AnswerReader
from luthier.prompts.batches import Request
from luthier.prompts.plain_text import PlainText
from luthier.prompts.prefetch import T
from luthier.prompts.template_requests import Draft
from luthier.prompts.tokens import Encoder, Tokens
from luthier.prompts.written import Written


class Layout(Protocol):
    """A way to write conversations."""

    def question(self, messages: Sequence[Message], tools: str, where: str) -> str:
        """The prompt: the conversation up to the start of the assistant's answer."""

    def conversations(
        self, messages: Sequence[Message], tools: str, where: str
    ) -> tuple[Written, ...]:
        """A conversation that ends with the assistant's answer.

        The result is one text. If the layout changes earlier turns when the conversation goes on,
        it is one text for each trained answer.
        """

    def drafts(self, messages: Sequence[Message], tools: str, *, ask: bool) -> Iterator[Draft]:
        """The drafts, or most of them, that `question` needs, or else `conversations`."""

    def ahead(self, items: Iterable[T], needed: Callable[[T], Iterable[Draft]]) -> Iterator[T]:
        """The items; the drafts for the next items are written in the meantime."""

    def encode(self, text: str) -> Tokens:
        """The tokens of a text; offsets are places in the result of `show`."""

    def before(self, whole: Tokens, text: str, place: int) -> tuple[int, ...]:
        """The ids of ``text[:place]``, given the tokens of the whole text."""

    def is_behind_token(self, text: str, place: int) -> bool:
        """Whether a special token ends at a place, so that no token crosses it."""

    def requests(self, text: str, places: Iterable[int]) -> Iterator[Request]:
        """The encodings that the tokens of a text need, and `before` at some places in it."""

    def answer(self, text: str) -> tuple[int, ...]:
        """The ids of an answer after a question, without the end of the turn."""

    @property
    def reader(self) -> AnswerReader:
        """The reader that finds the answer in a generated text."""

    def show(self, text: str) -> str:
        """The text with its special tokens spelled out."""

    def stop_strings(self, answers: Iterable[str]) -> tuple[str, ...]:
        """The stop strings: texts that a model writes if it goes on after its answer.

        Args:
            answers: examples of answers; a text that occurs in one of them is no stop string.
        """


@dataclass(frozen=True, slots=True)
class PlainLayout:
    """The layout of conversations as `PlainText`."""

    encoder: Encoder
    plain: PlainText

    def question(self, messages: Sequence[Message], tools: str, where: str) -> str:
        """See `PlainText.question`."""
        return self.plain.question(messages, tools, where)

    def conversations(
        self, messages: Sequence[Message], tools: str, where: str
    ) -> tuple[Written, ...]:
        """See `PlainText.conversation`."""
        return (self.plain.conversation(messages, tools, where),)

    def drafts(self, messages: Sequence[Message], tools: str, *, ask: bool) -> Iterator[Draft]:
        """See `Layout.drafts`: none, because plain text needs no template."""
        yield from ()

    def ahead(self, items: Iterable[T], needed: Callable[[T], Iterable[Draft]]) -> Iterator[T]:
        """See `Layout.ahead`."""
        yield from items

    def encode(self, text: str) -> Tokens:
        """The tokens of ``text``; special tokens spelled out in it stay text."""
        return self.encoder.literal(text)

    def before(self, whole: Tokens, text: str, place: int) -> tuple[int, ...]:
        """See `Layout.before`."""
        return self.encode(text[:place]).ids

    def is_behind_token(self, text: str, place: int) -> bool:
        """False: special tokens stay text."""
        return False

    def requests(self, text: str, places: Iterable[int]) -> Iterator[Request]:
        """See `Layout.requests`."""
        for each in (text, *(text[:place] for place in places)):
            yield self.encoder.request(each, literal=True)

    def answer(self, text: str) -> tuple[int, ...]:
        """The ids of an answer, with its leading spaces."""
        asked = "?" + self.plain.ending
        whole = self.encode(asked + self.plain.lead + text)
        before = self.encode(asked).ids
        return whole.ids[self.encoder.boundary(whole, before, len(asked)).at :]

    @property
    def reader(self) -> AnswerReader:
        """See `Layout.reader`: reasoning is in tags before the answer."""
        return AnswerReader(self.encoder)

    def show(self, text: str) -> str:
        """The text itself."""
        return text

    def stop_strings(self, answers: Iterable[str]) -> tuple[str, ...]:
        """See `PlainText.stop_strings`."""
        return self.plain.stop_strings(answers)
