"""How a conversation is written as text: plainly, or with a chat template (`luthier.prompts.chat`).

A conversation is one text, which is tokenised whole; spans say where the answers stand in it. The
text up to an answer is what a model is asked at inference.
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
        """The conversation so far, up to where the assistant's answer begins."""

    def conversations(
        self, messages: Sequence[Message], tools: str, where: str
    ) -> tuple[Written, ...]:
        """A conversation that ends with the assistant's answer.

        One text; or one for each answer that is trained, where earlier turns are written otherwise
        when the conversation goes on.
        """

    def drafts(self, messages: Sequence[Message], tools: str, *, ask: bool) -> Iterator[Draft]:
        """What is written for `question`, or else for `conversations`, or most of it."""

    def ahead(self, items: Iterable[T], needed: Callable[[T], Iterable[Draft]]) -> Iterator[T]:
        """The items, while the drafts that the next ones need are written."""

    def encode(self, text: str) -> Tokens:
        """A text as tokens; offsets are those in the text that `show` gives."""

    def before(self, whole: Tokens, text: str, place: int) -> tuple[int, ...]:
        """The ids of ``text[:place]``, where the tokens of the whole text are known."""

    def is_behind_token(self, text: str, place: int) -> bool:
        """Whether a special token ends there, so that no token has characters of both sides."""

    def requests(self, text: str, places: Iterable[int]) -> Iterator[Request]:
        """What is encoded for the tokens of a text, and for `before` at some places in it."""

    def answer(self, text: str) -> tuple[int, ...]:
        """The ids of an answer as they stand after a question, without the end of the turn."""

    @property
    def reader(self) -> AnswerReader:
        """Finds the answer in a generated text."""

    def show(self, text: str) -> str:
        """A text for people."""

    def stop_strings(self, answers: Iterable[str]) -> tuple[str, ...]:
        """What a model writes that goes on after its answer as the text before went on.

        Args:
            answers: some that are to be expected; what stands within one ends none.
        """


@dataclass(frozen=True, slots=True)
class PlainLayout:
    """Conversations as `PlainText`, and their tokens."""

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
        """See `Layout.drafts`: none, since plain text is written at once."""
        yield from ()

    def ahead(self, items: Iterable[T], needed: Callable[[T], Iterable[Draft]]) -> Iterator[T]:
        """See `Layout.ahead`."""
        yield from items

    def encode(self, text: str) -> Tokens:
        """The tokens of ``text``; special tokens in it are text."""
        return self.encoder.literal(text)

    def before(self, whole: Tokens, text: str, place: int) -> tuple[int, ...]:
        """See `Layout.before`."""
        return self.encode(text[:place]).ids

    def is_behind_token(self, text: str, place: int) -> bool:
        """Never: special tokens are text."""
        return False

    def requests(self, text: str, places: Iterable[int]) -> Iterator[Request]:
        """See `Layout.requests`."""
        for each in (text, *(text[:place] for place in places)):
            yield self.encoder.request(each, literal=True)

    def answer(self, text: str) -> tuple[int, ...]:
        """The ids of an answer, with the spaces that lead it."""
        asked = "?" + self.plain.ending
        whole = self.encode(asked + self.plain.lead + text)
        before = self.encode(asked).ids
        return whole.ids[self.encoder.boundary(whole, before, len(asked)).at :]

    @property
    def reader(self) -> AnswerReader:
        """See `Layout.reader`: reasoning stands in tags before the answer."""
        return AnswerReader(self.encoder)

    def show(self, text: str) -> str:
        """The text itself."""
        return text

    def stop_strings(self, answers: Iterable[str]) -> tuple[str, ...]:
        """See `PlainText.stop_strings`."""
        return self.plain.stop_strings(answers)
