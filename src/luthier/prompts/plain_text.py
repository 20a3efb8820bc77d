"""Conversations as plain text, without roles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from luthier.core.errors import DataError
from luthier.core.example import Message
from luthier.prompts.reasoning import KNOWN_TAGS, thought_of
from luthier.prompts.written import Span, Written

_BETWEEN_TURNS = "\n\n"


@dataclass(frozen=True, slots=True)
class PlainText:
    """Plain-text conversations: blank lines between turns, each answer on a new line.

    Roles are not written. Trailing spaces of ``separator`` belong to the answer, as in the
    continuations of lm-evaluation-harness; its other characters belong to the question.
    """

    separator: str = "\n"

    @property
    def lead(self) -> str:
        """The spaces before an answer, which belong to the answer."""
        return self.separator[len(self.ending) :]

    @property
    def ending(self) -> str:
        """The characters that end a question."""
        return self.separator.rstrip(" ")

    def question(self, messages: Sequence[Message], tools: str, where: str) -> str:
        """The prompt: the conversation up to the start of the assistant's answer.

        Raises:
            DataError: the conversation has tools.
        """
        return self._text(messages, tools, where)[0] + self.ending

    def conversation(self, messages: Sequence[Message], tools: str, where: str) -> Written:
        """The text of all turns of a conversation.

        Raises:
            DataError: the conversation has tools.
        """
        text, answers = self._text(messages, tools, where)
        return Written(text, tuple(answers))

    def stop_strings(self, answers: Iterable[str]) -> tuple[str, ...]:
        """The blank line before the next turn, unless one of ``answers`` has one."""
        return () if any(_BETWEEN_TURNS in answer for answer in answers) else (_BETWEEN_TURNS,)

    def _text(self, messages: Sequence[Message], tools: str, where: str) -> tuple[str, list[Span]]:
        if tools or any(turn.tool_calls or turn.role == "tool" for turn in messages):
            raise DataError(
                "plain text has no form for tools",
                where=where,
                fix="use a model whose chat template has tools, or give one with "
                "prompt.chat_template=FILE.jinja",
            )
        text, answers = "", []
        for index, message in enumerate(messages):
            if message.role == "assistant":
                text += self.ending
                asked = len(text)
                thought, content = thought_of(message, KNOWN_TAGS[0])
                text += self.lead + thought.text
                begins = len(text) if thought.reasoning else asked
                text += content
                answers.append(Span(asked, begins, len(text), message.is_trained))
            else:
                text += (_BETWEEN_TURNS if index else "") + message.content
        return text, answers
