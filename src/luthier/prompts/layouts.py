"""How a conversation is written as text: with the model's chat template, or as plain text.

Both layouts cut the text into segments, each of which is tokenised by itself. The segments of a
conversation are the first ones of every longer one, so what a model is asked at inference is token
for token what it saw in training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Protocol

from jinja2 import TemplateError

from luthier.core.errors import DataError
from luthier.core.example import Message
from luthier.prompts.tokens import Encoder, Tokenizer

_BETWEEN_TURNS = "\n\n"
# A word that no template writes itself.
_PROBE = "zqxprobe"
# What templates take for today: a run that goes on tomorrow, or is compared with one of yesterday,
# sees the same text. It is what Llama 3's write where there is no clock.
_TODAY = datetime(2024, 7, 26, tzinfo=UTC)
_CLOCK = "strftime_now"
# transformers gives templates a clock of that name; a macro stands before it.
_STOPPED_CLOCK = (
    f"{{% macro {_CLOCK}(format) %}}{{{{ format"
    + "".join(f"|replace('%{code}', '{_TODAY:%{code}}')" for code in "aAbBdeHIjmMpSyY")
    + " }}{% endmacro %}\n"
)


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a conversation's text; ``is_answer`` where the assistant speaks."""

    text: str
    is_answer: bool


class Layout(Protocol):
    """A way to write conversations."""

    def question(self, messages: Sequence[Message], where: str) -> list[Segment]:
        """The conversation so far, up to where the assistant's answer begins."""

    def conversation(self, messages: Sequence[Message], where: str) -> list[Segment]:
        """A conversation that ends with the assistant's answer."""

    def ids(self, text: str) -> tuple[int, ...]:
        """The ids of a segment's text."""

    def answer(self, text: str) -> tuple[int, ...]:
        """The ids of an answer as they stand after a question, without the end of the turn."""

    def said(self, text: str) -> str:
        """What a generated text says."""

    def show(self, text: str) -> str:
        """A segment's text for people."""

    def stop_strings(self, answers: Iterable[str]) -> tuple[str, ...]:
        """What a model writes that goes on after its answer as the text before went on.

        Args:
            answers: some that are to be expected; what stands within one ends none.
        """


@dataclass(frozen=True, slots=True)
class PlainLayout:
    """Turns are separated by a blank line; an answer follows its question on a new line.

    Roles are not written. Spaces of ``separator`` belong to the answer, as in the continuations
    of lm-evaluation-harness; other characters belong to the question.
    """

    encoder: Encoder
    separator: str = "\n"

    def question(self, messages: Sequence[Message], where: str) -> list[Segment]:
        """The conversation so far, up to where the assistant's answer begins."""
        return _merged([*self._turns(messages), Segment(self.separator.rstrip(" "), False)])

    def conversation(self, messages: Sequence[Message], where: str) -> list[Segment]:
        """All turns of a conversation."""
        return _merged(list(self._turns(messages)))

    def ids(self, text: str) -> tuple[int, ...]:
        """The ids of ``text``; special tokens in it are text."""
        return self.encoder.literal_ids(text)

    def answer(self, text: str) -> tuple[int, ...]:
        """The ids of an answer, with the spaces that lead it."""
        return self.encoder.literal_ids(self._lead + text)

    def said(self, text: str) -> str:
        """The text itself."""
        return text

    def show(self, text: str) -> str:
        """The text itself."""
        return text

    def stop_strings(self, answers: Iterable[str]) -> tuple[str, ...]:
        """The blank line before the next turn."""
        return () if any(_BETWEEN_TURNS in answer for answer in answers) else (_BETWEEN_TURNS,)

    def _turns(self, messages: Sequence[Message]) -> Iterator[Segment]:
        for index, message in enumerate(messages):
            if message.role == "assistant":
                yield Segment(self.separator.rstrip(" "), False)
                yield Segment(self._lead + message.content, True)
            else:
                yield Segment((_BETWEEN_TURNS if index else "") + message.content, False)

    @property
    def _lead(self) -> str:
        return self.separator[len(self.separator.rstrip(" ")) :]


@dataclass(frozen=True)  # no slots: they exclude cached properties
class ChatLayout:
    """The tokenizer's own chat template decides.

    What it writes before every answer, such as a space or a pair of tags without thoughts in them,
    belongs to the answer, where it is trained and where it is scored. Templates that write the date
    get one that never changes.
    """

    tokenizer: Tokenizer
    encoder: Encoder

    def question(self, messages: Sequence[Message], where: str) -> list[Segment]:
        """The conversation so far, up to where the assistant's answer begins.

        Some templates shorten earlier answers (they drop the reasoning). Nothing is trained here,
        so such a conversation is taken as one segment.

        Raises:
            DataError: the template refuses the conversation.
        """
        turns = self._turns(messages, where)
        text = self._write(turns, where, ask=True)
        try:
            segments = self._answered(turns, where)
        except _NotAnExtensionError:
            return [Segment(text, False)]
        done = "".join(segment.text for segment in segments)
        if not text.startswith(done):
            return [Segment(text, False)]
        return [*segments, Segment(text[len(done) :], False)]

    def conversation(self, messages: Sequence[Message], where: str) -> list[Segment]:
        """A conversation with every answer a segment, up to the end of the last one's turn.

        Raises:
            DataError: the template refuses the conversation, or rewrites a part of it when it
                grows, so that training would not see what inference asks.
        """
        return self._answered(self._turns(messages, where), where)

    def ids(self, text: str) -> tuple[int, ...]:
        """The ids of ``text`` with the template's special tokens."""
        return self.encoder.ids(text)

    def answer(self, text: str) -> tuple[int, ...]:
        """The ids of an answer, with what the template writes before every one."""
        return self.encoder.ids(self._lead + self.encoder.hide(text))

    def said(self, text: str) -> str:
        """A generated text without what the template writes before every answer."""
        return text.removeprefix(self._lead.strip()).strip()

    def show(self, text: str) -> str:
        """The text with the special tokens that rows spell out."""
        return self.encoder.show(text)

    def stop_strings(self, answers: Iterable[str]) -> tuple[str, ...]:
        """None: a token of the template ends a turn."""
        return ()

    def _answered(self, turns: Sequence[Message], where: str) -> list[Segment]:
        """Segments up to the end of the last answer. A first turn answers nothing."""
        segments: list[Segment] = []
        done = ""
        for index, turn in enumerate(turns):
            if turn.role != "assistant" or index == 0:
                continue
            asked = self._write(turns[:index], where, ask=True)
            answered = self._write(turns[: index + 1], where, ask=False)
            answer = self._until_end_of_turn(_extension(asked, answered, where))
            segments += [Segment(_extension(done, asked, where), False), Segment(answer, True)]
            done = asked + answer
        return segments

    @cached_property
    def _template(self) -> str:
        template = str(self.tokenizer.get_chat_template())
        return _STOPPED_CLOCK + template if _CLOCK in template else template

    @cached_property
    def _lead(self) -> str:
        """What the template writes between a question and every answer to it."""
        turns = (Message("user", _PROBE), Message("assistant", _PROBE))
        try:
            asked = self._write(turns[:1], "", ask=True)
            added = _extension(asked, self._write(turns, "", ask=False), "")
        except DataError:
            return ""
        return added[: max(added.find(_PROBE), 0)]

    def _until_end_of_turn(self, answer: str) -> str:
        """Cut what a template writes after the end of a turn, such as a line break."""
        end = self.tokenizer.eos_token
        if end and end in answer:
            return answer[: answer.index(end) + len(end)]
        return answer.rstrip()

    def _turns(self, messages: Sequence[Message], where: str) -> tuple[Message, ...]:
        """The messages with special tokens hidden, and a system message only where it is shown."""
        turns = tuple(Message(turn.role, self.encoder.hide(turn.content)) for turn in messages)
        if len(turns) < 2 or turns[0].role != "system" or turns[1].role != "user":
            return turns
        system, user, *rest = turns
        answered = (system, user, Message("assistant", _PROBE))
        try:
            asked = self._write(answered[:2], where, ask=True)
            # Some show it in the last question alone, and forget it when that is answered.
            stays = self._write(answered, where, ask=False).startswith(asked)
            if stays and system.content.strip() in asked:
                return turns
        except DataError:
            pass  # a template that knows no system message; folded, it has to do
        return (Message("user", f"{system.content}\n\n{user.content}"), *rest)

    def _write(self, turns: Sequence[Message], where: str, *, ask: bool) -> str:
        conversation = [{"role": turn.role, "content": turn.content} for turn in turns]
        try:
            text = self.tokenizer.apply_chat_template(
                conversation,
                tokenize=False,
                add_generation_prompt=ask,
                chat_template=self._template,
                date_string=f"{_TODAY:%d %b %Y}",
            )
        except (TemplateError, LookupError, TypeError, ValueError) as error:
            roles = ", ".join(turn.role for turn in turns) or "none"
            raise DataError(
                f"the chat template refuses the conversation: {error}",
                where=where,
                fix=f"its roles are: {roles}; most templates want user and assistant in turns",
            ) from None
        return str(text)


class _NotAnExtensionError(DataError):
    """A chat template rewrote the beginning of a conversation that grew."""


def _extension(shorter: str, longer: str, where: str) -> str:
    if not longer.startswith(shorter):
        raise _NotAnExtensionError(
            "the chat template rewrites earlier text when the conversation grows, so training "
            "would not see what inference asks",
            where=where,
            fix="use single-turn examples, or set prompt.chat_template to never",
        )
    return longer[len(shorter) :]


def _merged(segments: Sequence[Segment]) -> list[Segment]:
    """Neighbours of the same kind as one, since they are tokenised together."""
    merged: list[Segment] = []
    for segment in segments:
        if merged and merged[-1].is_answer == segment.is_answer:
            segment = Segment(merged.pop().text + segment.text, segment.is_answer)
        merged.append(segment)
    return merged
