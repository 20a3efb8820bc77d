"""The layout of conversations with a model's chat template."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from luthier.core.errors import DataError
from luthier.core.example import Message
from luthier.prompts.answers import AnswerReader
from luthier.prompts.batches import Request
from luthier.prompts.dialect import PROBE, Dialect
from luthier.prompts.prefetch import T
from luthier.prompts.reasoning import (
    KNOWN_TAGS,
    Thought,
    missing_part,
    thought_of,
)
from luthier.prompts.template_checks import (
    holds_calls,
    is_in,
    no_tools,
    require_tools,
    require_turns,
    tool_name,
)
from luthier.prompts.template_requests import Draft
from luthier.prompts.tokens import Encoder, Tokens
from luthier.prompts.written import Span, Written

_QUESTION = Message("user", "zqxquestion")


class _Answered(NamedTuple):
    """A conversation up to the end of its last answer; places are characters.

    Attributes:
        text: the whole text.
        asked: the end of the prompt.
        content: the start of the answer after its reasoning; ``asked`` if it has none.
    """

    text: str
    asked: int
    content: int


@dataclass(frozen=True)  # no slots: they exclude cached properties
class ChatLayout:
    """The layout of conversations with the model's chat template.

    The template's text before every answer, such as a space or an empty pair of reasoning tags,
    belongs to the answer in training and in scoring. Templates that write the date get a fixed one.

    Prompts are always those of inference. The template may write an answered conversation
    differently: it may open reasoning in the prompt, or cut it out of the answer. Then the answer
    is appended to the prompt: its reasoning in the template's tags, its text and the end of turn.

    Attributes:
        dialect: the template.
        encoder: tokenises texts.
        end: the text of the end-of-turn token; empty if there is none.
    """

    dialect: Dialect
    encoder: Encoder
    end: str

    def question(self, messages: Sequence[Message], tools: str, where: str) -> str:
        """The prompt: the conversation up to the start of the assistant's answer.

        Raises:
            DataError: the template refuses the conversation or omits a part of it.
        """
        turns, listed = self._turns(messages), self._tools(tools, where)
        text = self.dialect.write(turns, where, ask=True, tools=listed)
        self._require(turns, listed, text, where)
        return text

    def conversations(
        self, messages: Sequence[Message], tools: str, where: str
    ) -> tuple[Written, ...]:
        """A conversation with its answers, each up to the end of its turn.

        Some templates change earlier turns when a conversation goes on: they drop the reasoning, or
        move the system message. Then the result is one text for each trained answer, after its
        prompt at inference. A first turn of the assistant is not an answer.

        Raises:
            DataError: the template refuses the conversation or omits a part of it.
        """
        turns, listed = self._turns(messages), self._tools(tools, where)
        answered = {
            index: self._answered(turns[: index + 1], listed, where)
            for index, turn in enumerate(turns)
            if turn.role == "assistant" and index
        }
        whole = self._last(answered, turns, where)
        self._require(turns, listed, whole.text, where)
        if all(whole.text.startswith(part.text) for part in answered.values()):
            spans = self._spans(answered, turns)
            return (Written(whole.text, tuple(self._ended(span, whole.text) for span in spans)),)
        trained = {index: part for index, part in answered.items() if turns[index].is_trained}
        return tuple(
            Written(part.text, tuple(self._spans({index: part}, turns)), trains_prompt=False)
            for index, part in (trained or {len(turns) - 1: whole}).items()
        )

    def drafts(self, messages: Sequence[Message], tools: str, *, ask: bool) -> Iterator[Draft]:
        """See `Layout.drafts`; rows with tools are written one by one."""
        if tools:
            return
        turns = self._turns(messages)
        if ask:
            yield Draft(turns, True)
            return
        for index, turn in enumerate(turns):
            if turn.role == "assistant" and index:
                yield Draft(turns[:index], True)
                yield Draft(turns[: index + 1], False)

    def ahead(self, items: Iterable[T], needed: Callable[[T], Iterable[Draft]]) -> Iterator[T]:
        """See `Layout.ahead`."""
        return self.dialect.ahead(items, needed)

    def encode(self, text: str) -> Tokens:
        """The tokens of ``text`` with the template's special tokens."""
        return self.encoder.encode(text)

    def before(self, whole: Tokens, text: str, place: int) -> tuple[int, ...]:
        """See `Layout.before`."""
        return self.encoder.before(whole, text, place)

    def is_behind_token(self, text: str, place: int) -> bool:
        """See `Layout.is_behind_token`."""
        return self.encoder.is_behind_token(text, place)

    def requests(self, text: str, places: Iterable[int]) -> Iterator[Request]:
        """See `Layout.requests`."""
        for each in (text, *(text[self.encoder.cut(text, place) : place] for place in places)):
            yield self.encoder.request(each, literal=False)

    def answer(self, text: str) -> tuple[int, ...]:
        """The ids of an answer, with the template's text before every answer."""
        asked = self.dialect.write((_QUESTION,), "", ask=True)
        whole = self.encode(asked + self._lead + self.encoder.hide(text))
        place = len(self.show(asked))
        return whole.ids[self.encoder.boundary(whole, self.encode(asked).ids, place).at :]

    @property
    def reader(self) -> AnswerReader:
        """See `Layout.reader`. It knows the template's tags and its text before every answer."""
        return AnswerReader(
            self.encoder,
            [self.dialect.tags],
            lead=self._lead,
            is_opened=self.dialect.opens_thought,
        )

    def show(self, text: str) -> str:
        """The text with the special tokens that rows spell out."""
        return self.encoder.show(text)

    def stop_strings(self, answers: Iterable[str]) -> tuple[str, ...]:
        """None: a token of the template ends a turn."""
        return ()

    def _spans(self, answered: dict[int, _Answered], turns: Sequence[Message]) -> list[Span]:
        return [
            Span(part.asked, part.content, len(part.text), turns[index].is_trained)
            for index, part in answered.items()
        ]

    def _ended(self, span: Span, text: str) -> Span:
        """The answer with its end token, even if the template writes that before the next turn."""
        if text.startswith(self.end, span.end) and not text.endswith(self.end, 0, span.end):
            return replace(span, end=span.end + len(self.end))
        return span

    def _last(
        self, answered: dict[int, _Answered], turns: Sequence[Message], where: str
    ) -> _Answered:
        if len(turns) - 1 not in answered:
            raise DataError("the conversation has no answer to a question", where=where)
        return answered[len(turns) - 1]

    def _require(
        self, turns: Sequence[Message], tools: Sequence[Any], text: str, where: str
    ) -> None:
        """Check that the template wrote everything.

        Raises:
            DataError: a part is missing.
        """
        if tools and not self.dialect.takes_tools:
            raise no_tools(f"the tool {tool_name(tools[0])!r}", where)
        require_tools(tools, text, where)
        require_turns(map(_without_thought, turns), text, where)

    def _answered(self, turns: Sequence[Message], tools: Sequence[Any], where: str) -> _Answered:
        """The last turn after its prompt at inference.

        Raises:
            DataError: the template refuses the conversation or omits the answer.
        """
        asked = self.dialect.write(turns[:-1], where, ask=True, tools=tools)
        full = self.dialect.write(turns, where, ask=False, tools=tools)
        thought, content = thought_of(turns[-1], self.dialect.tags)
        answer = _saying(turns[-1], content, thought.reasoning)
        if answer.reasoning and asked.rstrip().endswith(self.dialect.tags.close):
            raise DataError(
                "the prompt ends the reasoning, and the answer has some",
                where=where,
                fix="set prompt.reasoning to drop, or change the argument that asks for it "
                "(enable_thinking, thinking) in prompt.chat_template_kwargs",
            )
        shared = _shared(asked, full)
        written = full[shared:] if shared == len(asked) else ""
        if not _holds(answer, written):
            written = self._put_behind(asked, full, thought, answer)
            require_turns((_without_thought(turns[-1]),), written, where, full[shared:])
        at = written.find(thought.reasoning) + len(thought.reasoning)
        found = written.find(content.strip(), at)
        begins = found if found >= 0 else at
        place = len(asked) + begins if thought.reasoning else len(asked)
        end = self._end_of_turn(written, begins + len(content.strip()))
        return _Answered(asked + written[:end], len(asked), place)

    def _put_behind(self, asked: str, full: str, thought: Thought, answer: Message) -> str:
        """The text of an answer after a prompt that the template's full text does not continue."""
        tags = self.dialect.tags
        before = ""
        if answer.reasoning:
            before = missing_part(thought.text, asked)
        elif asked.rstrip().endswith(tags.open):
            before = missing_part(tags.around(""), asked)
        # The turn begins at the first difference of the texts, or with the prompt's tags.
        opened = asked.rfind(tags.open)
        shared = _shared(asked, full)
        start = min(shared, opened) if opened >= 0 else shared
        content = answer.content.strip()
        found = full.find(content, start) if content else start
        return before + full[found:] if found >= 0 else ""

    @cached_property
    def _lead(self) -> str:
        """The template's text between a prompt and every answer."""
        try:
            part = self._answered((_QUESTION, Message("assistant", PROBE)), (), "")
        except DataError:
            return ""
        written = part.text[part.asked :]
        return written[: max(written.find(PROBE), 0)]

    def _end_of_turn(self, written: str, behind: int) -> int:
        """The end of the turn, before later text of the template such as a line break."""
        found = written.find(self.end, behind) if self.end else -1
        return found + len(self.end) if found >= 0 else len(written.rstrip())

    def _turns(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """The messages with special tokens hidden; an unsupported system message joins the user."""
        turns = tuple(map(self._hidden, messages))
        if len(turns) < 2 or turns[0].role != "system" or turns[1].role != "user":
            return turns
        if self.dialect.takes_system:
            return turns
        system, user, *rest = turns
        return (Message("user", f"{system.content}\n\n{user.content}"), *rest)

    def _hidden(self, turn: Message) -> Message:
        """A turn with hidden special tokens, except the tags around its reasoning."""
        hide = self.encoder.hide
        thought, content = thought_of(turn, self.dialect.tags)
        content = hide(content)
        if not turn.reasoning:  # it may be in the content, even as empty tags
            reasoning = thought.reasoning
            head = (
                thought.text.replace(reasoning, hide(reasoning), 1) if reasoning else thought.text
            )
            content = head + content
        if turn.is_text:
            return _saying(turn, content)
        calls = tuple(
            replace(call, name=hide(call.name), arguments=hide(call.arguments))
            for call in turn.tool_calls
        )
        return replace(
            turn,
            content=content,
            reasoning=hide(turn.reasoning),
            tool_calls=calls,
            name=hide(turn.name),
        )

    def _tools(self, tools: str, where: str) -> tuple[Any, ...]:
        if not tools:
            return ()
        try:
            listed = json.loads(self.encoder.hide(tools))
        except ValueError as error:
            raise DataError(f"the tools are not JSON: {error}", where=where) from None
        return tuple(listed) if isinstance(listed, list) else (listed,)


def _without_thought(turn: Message) -> Message:
    """The turn without reasoning, which templates may omit; trained reasoning is checked apart."""
    return _saying(turn, thought_of(turn, KNOWN_TAGS[0])[1])


def _saying(turn: Message, content: str, reasoning: str = "") -> Message:
    """The turn with this content and reasoning."""
    if content == turn.content and reasoning == turn.reasoning:  # nearly always
        return turn
    return replace(turn, content=content, reasoning=reasoning)


def _holds(answer: Message, written: str) -> bool:
    """Whether a text contains all parts of an answer."""
    parts = (answer.reasoning, answer.content)
    return all(is_in(part, written) for part in parts) and holds_calls(answer.tool_calls, written)


def _shared(one: str, other: str) -> int:
    size = min(len(one), len(other))
    if one[:size] == other[:size]:  # nearly always, and much faster than a look at each character
        return size
    return next((i for i in range(size) if one[i] != other[i]), size)
