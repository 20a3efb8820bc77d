"""The one shape of a data row after its format was detected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation and the answers that are accepted as its next turn.

    Attributes:
        id: stable across runs; unique within a data set.
        messages: the conversation up to the answer. Empty for plain text. Assistant turns in here
            are trained on as well, so that chat data is used whole.
        references: accepted answers. Training uses the first; metrics take the best.
        choices: the closed set of answers, or empty for open answers.
        group: examples of one group never straddle two splits (empty: a group of its own).
        where: file and line (or data set and row), for error messages.
    """

    id: str
    messages: tuple[Message, ...]
    references: tuple[str, ...]
    choices: tuple[str, ...] = ()
    group: str = ""
    where: str = ""

    @property
    def is_plain_text(self) -> bool:
        """Whether this is running text without a prompt."""
        return not self.messages

    @property
    def characters(self) -> int:
        """Characters of the question and of the answer that is trained on."""
        answer = self.references[0] if self.references else ""
        return sum(len(message.content) for message in self.messages) + len(answer)
