"""Prompts: what an engine is asked, as token ids, as text or as a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from luthier.core.example import Message


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation, which the engine writes with the chat template of its model.

    Attributes:
        messages: turns of text; the assistant answers the last one.
    """

    messages: tuple[Message, ...]

    @property
    def text(self) -> str:
        """The conversation for people: a mark before each turn names who speaks."""
        turns = "".join(f"<|{turn.role}|>{turn.content}" for turn in self.messages)
        return f"{turns}<|assistant|>"


Content = Sequence[int] | str | Conversation
"""Token ids are used as they are. Text is continued as it stands. The model answers a
conversation."""


class Prompt(Protocol):
    """A question, ready to be asked."""

    @property
    def content(self) -> Content:
        """What the engine is given."""

    @property
    def text(self) -> str:
        """The question for people."""


@dataclass(frozen=True, slots=True)
class TokenPrompt:
    """A question in the tokens of one model; see `Prompt`."""

    ids: tuple[int, ...]
    text: str

    @property
    def content(self) -> tuple[int, ...]:
        """The ids."""
        return self.ids


@dataclass(frozen=True, slots=True)
class ServedPrompt:
    """A question to a server, which has the tokenizer; see `Prompt`."""

    content: str | Conversation
    text: str


def known_tokens(content: Content) -> int:
    """The tokens of a prompt; 0 where only its engine can count them."""
    return 0 if isinstance(content, str | Conversation) else len(content)
