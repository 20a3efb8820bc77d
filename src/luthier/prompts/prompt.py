"""Prompts as token ids, as text or as conversations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from luthier.core.example import Message


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation, which the engine renders with its model's chat template.

    Attributes:
        messages: turns of text; the assistant answers the last one.
    """

    messages: tuple[Message, ...]

    @property
    def text(self) -> str:
        """The conversation for display, with the role before each turn."""
        turns = "".join(f"<|{turn.role}|>{turn.content}" for turn in self.messages)
        return f"{turns}<|assistant|>"


Content = Sequence[int] | str | Conversation
"""Token ids are used as they are. Text is continued as it stands. The model answers a
conversation."""


class Prompt(Protocol):
    """A rendered prompt."""

    @property
    def content(self) -> Content:
        """The input of the engine."""

    @property
    def text(self) -> str:
        """The prompt as text for display."""


@dataclass(frozen=True, slots=True)
class TokenPrompt:
    """A prompt in the tokens of one model; see `Prompt`."""

    ids: tuple[int, ...]
    text: str

    @property
    def content(self) -> tuple[int, ...]:
        """The ids."""
        return self.ids


@dataclass(frozen=True, slots=True)
class ServedPrompt:
    """A prompt for a server, which has the tokenizer; see `Prompt`."""

    content: str | Conversation
    text: str


def known_tokens(content: Content) -> int:
    """The number of tokens of a prompt; 0 if only its engine can count them."""
    return 0 if isinstance(content, str | Conversation) else len(content)
