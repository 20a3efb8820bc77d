"""The one shape of a data row after its format was detected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the assistant calls.

    Attributes:
        name: of the function.
        arguments: a JSON object as text, such as ``{"city": "Cremona"}``.
        id: what the result refers to; empty where the data gives none.
    """

    name: str
    arguments: str = "{}"
    id: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: who speaks; ``tool`` is the result of a call.
        content: the text; may be empty where the assistant only calls tools.
        reasoning: the assistant's thinking before the content, where the data keeps it apart.
        tool_calls: the functions that the assistant calls after the content.
        name: of the tool whose result this is.
        tool_call_id: the call whose result this is.
        is_trained: whether the loss counts this turn; only the assistant's turns are ever counted.
    """

    role: Role
    content: str
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    name: str = ""
    tool_call_id: str = ""
    is_trained: bool = True

    @property
    def is_text(self) -> bool:
        """Whether this is a text and nothing else, trained where such a turn is."""
        beside = self.reasoning or self.tool_calls or self.name or self.tool_call_id
        return not beside and self.is_trained


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation and the answers that are accepted as its next turn.

    Attributes:
        id: stable across runs; unique within a data set.
        messages: the conversation up to the answer. Empty for plain text. Assistant turns in here
            are trained on as well, unless they say otherwise, so that chat data is used whole.
        references: accepted answers. Training uses the first; metrics take the best.
        choices: the closed set of answers, or empty for open answers.
        group: examples of one group never straddle two splits (empty: a group of its own).
        where: file and line (or data set and row), for error messages.
        answer: the turn that training uses, where it is more than the text of the first reference:
            reasoning, tool calls, or not trained. None: that text.
        tools: the functions that the assistant may call, as a JSON list; empty for none.
        weight: how much the loss counts this example, relative to the others.
    """

    id: str
    messages: tuple[Message, ...]
    references: tuple[str, ...]
    choices: tuple[str, ...] = ()
    group: str = ""
    where: str = ""
    answer: Message | None = None
    tools: str = ""
    weight: float = 1.0

    @property
    def is_plain_text(self) -> bool:
        """Whether this is running text without a prompt."""
        return not self.messages

    @property
    def trained_answer(self) -> Message:
        """The turn that training ends with.

        Raises:
            IndexError: there is no reference.
        """
        return self.answer or Message("assistant", self.references[0])

    @property
    def characters(self) -> int:
        """Characters of the question and of the answer that is trained on."""
        turns = (*self.messages, *((self.trained_answer,) if self.references else ()))
        return sum(len(turn.content) + len(turn.reasoning) for turn in turns)
