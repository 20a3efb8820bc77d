"""The form of a data row after its format was detected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the assistant calls.

    Attributes:
        name: the function's name.
        arguments: a JSON object as text, such as ``{"city": "Cremona"}``.
        id: referenced by the tool's result; empty where the data gives none.
    """

    name: str
    arguments: str = "{}"
    id: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: the speaker; ``tool`` is the result of a call.
        content: the text; may be empty if the assistant only calls tools.
        reasoning: the assistant's reasoning before the content, if the data stores it separately.
        tool_calls: the functions that the assistant calls after the content.
        name: of the tool whose result this is.
        tool_call_id: the call that this result answers.
        is_trained: whether the turn counts in the loss; only the assistant's turns ever count.
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
        """Whether the turn holds text only, trained if it is an assistant's turn."""
        beside = self.reasoning or self.tool_calls or self.name or self.tool_call_id
        return not beside and self.is_trained


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation and its accepted answers.

    Attributes:
        id: stable across runs; unique within a data set.
        messages: the conversation before the answer; empty for plain text. Assistant turns in it
            are trained on too, unless marked otherwise, so chat data is used completely.
        references: accepted answers. Training uses the first; metrics take the best match.
        choices: the closed set of answers; empty for open answers.
        group: examples of one group stay in the same split (empty: a group of its own).
        where: file and line (or data set and row), for error messages.
        answer: the trained turn, if it differs from the text of the first reference: with reasoning
            or tool calls, or untrained. None: that text.
        tools: the functions the assistant may call, as a JSON list; empty for none.
        weight: the weight of this example in the loss, relative to the others.
        source: the name of its source in a mixture; empty without a mixture.
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
    source: str = ""

    @property
    def is_plain_text(self) -> bool:
        """Whether this is running text without a prompt."""
        return not self.messages

    @property
    def trained_answer(self) -> Message:
        """The final trained turn.

        Raises:
            IndexError: there are no references.
        """
        return self.answer or Message("assistant", self.references[0])

    @property
    def characters(self) -> int:
        """Number of characters in the conversation and the trained answer."""
        turns = (*self.messages, *((self.trained_answer,) if self.references else ()))
        return sum(len(turn.content) + len(turn.reasoning) for turn in turns)
