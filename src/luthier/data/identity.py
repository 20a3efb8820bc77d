"""Identity of examples, and similarity of their prompts."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from luthier.core.example import Example, Message
from luthier.core.seeds import fingerprint
from luthier.data.json_text import to_json

_SEPARATOR = "\x1e"


def with_content_id(example: Example) -> Example:
    """The example with a fingerprint of its content as id, independent of its row."""
    return replace(example, id=content_id(example))


def content_id(example: Example) -> str:
    """A fingerprint of an example's content, without its weight, group and location.

    Optional content is included only if present, so that ids stay stable when the format gains new
    fields.
    """
    turns = [text for message in example.messages for text in _texts(message)]
    end = [_SEPARATOR, *example.references, _SEPARATOR, *example.choices]
    more = [_SEPARATOR, "answer", *_texts(example.answer)] if example.answer else []
    tools = [_SEPARATOR, "tools", example.tools] if example.tools else []
    return fingerprint(*turns, *end, *more, *tools)


def question_id(example: Example) -> str:
    """A fingerprint of the exact question, including tools and choices."""
    turns = [text for message in example.messages for text in _texts(message)]
    return fingerprint(*turns, _SEPARATOR, *example.choices, _SEPARATOR, example.tools)


def prompt_key(example: Example) -> str:
    """A key shared by examples with nearly the same prompt: case, white space and forms ignored.

    It keeps such examples in the same split; they remain separate examples. Choices are part of the
    prompt. Plain text is its own prompt.
    """
    texts = [text for message in example.messages for text in _said(message)]
    texts = texts or list(example.references)
    return fingerprint(
        *map(normalised_text, texts), _SEPARATOR, *map(normalised_text, example.choices)
    )


def _texts(message: Message) -> Sequence[str]:
    """Role and text of a message, and its other content."""
    if message.is_text:
        return (message.role, message.content)
    more = {
        "reasoning": message.reasoning,
        "tool_calls": [[call.name, call.arguments, call.id] for call in message.tool_calls],
        "name": message.name,
        "tool_call_id": message.tool_call_id,
        "is_trained": message.is_trained,
    }
    return (message.role, message.content, f"\x1d{to_json(more)}")


def _said(message: Message) -> Sequence[str]:
    calls = [f"{call.name} {call.arguments}" for call in message.tool_calls]
    return (message.content, *calls)


def normalised_text(text: str) -> str:
    """The text without differences in case, white space and Unicode forms."""
    return " ".join(unicodedata.normalize("NFKC", text).split()).casefold()
