"""A tokenizer whose tokens are characters, for a model whose own tokenizer is on a server.

What is asked of a server is text, or a conversation, and the server cuts it into tokens. So that
prompts are written, cut, shown and compared in the one way there is, such a model gets a tokenizer
all the same: the id of a character is its code point, and a turn begins with a special token that
names who speaks. Like any special token it cannot be spelled out in data (`Encoder`), so no row can
speak in another's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any, get_args

from luthier.core.example import Message, Role

_AFTER_UNICODE = 0x110000
_ROLES: tuple[Role, ...] = get_args(Role)
_MARKS = {f"<|{role}|>": _AFTER_UNICODE + number for number, role in enumerate(_ROLES)}
_MARK = re.compile("|".join(map(re.escape, _MARKS)))


@dataclass(frozen=True, slots=True)
class _Special:
    """A special token, as those of the tokenizers library are described."""

    content: str
    special: bool = True
    normalized: bool = False
    single_word: bool = False


class CharacterTokenizer:
    """Text to code points and back; see `luthier.prompts.tokens.Tokenizer`."""

    bos_token_id = None
    eos_token = None
    eos_token_id = None
    chat_template = "roles"
    """There is one: `apply_chat_template`."""
    special_tokens_map: Mapping[str, str] = MappingProxyType({})
    added_tokens_decoder: Mapping[int, _Special] = MappingProxyType(
        {number: _Special(mark) for mark, number in _MARKS.items()}
    )

    def __call__(
        self,
        text: str,
        *,
        add_special_tokens: bool = True,
        split_special_tokens: bool = False,
        **options: Any,
    ) -> Mapping[str, list[int]]:
        """The code points of ``text``; marks of roles are one token unless they are split."""
        del add_special_tokens, options  # nothing begins or ends a text
        if split_special_tokens:
            return {"input_ids": [*map(ord, text)]}
        ids: list[int] = []
        place = 0
        for mark in _MARK.finditer(text):
            ids += map(ord, text[place : mark.start()])
            ids.append(_MARKS[mark.group()])
            place = mark.end()
        return {"input_ids": [*ids, *map(ord, text[place:])]}

    def get_chat_template(self) -> str:
        """Its name; there is no text of it."""
        return self.chat_template

    def apply_chat_template(
        self,
        conversation: list[dict[str, Any]],
        *,
        tokenize: bool = False,
        add_generation_prompt: bool = True,
        **values: Any,
    ) -> str:
        """The turns one after the other, each behind the mark of its role."""
        del tokenize, values
        turns = [f"<|{turn['role']}|>{turn['content']}" for turn in conversation]
        return "".join(turns) + ("<|assistant|>" if add_generation_prompt else "")

    def decode(self, ids: Sequence[int], **_options: Any) -> str:
        """The text; roles are shown by their marks."""
        marks = {number: mark for mark, number in _MARKS.items()}
        return "".join(marks.get(number) or chr(number) for number in ids)

    def get_vocab(self) -> Mapping[str, int]:
        """The marks: all that is not Unicode's."""
        return _MARKS


def as_text(ids: Sequence[int]) -> str:
    """The text that ids without roles stand for."""
    return "".join(map(chr, ids))


def as_conversation(ids: Sequence[int]) -> tuple[Message, ...]:
    """The turns that ids of the tokenizer stand for.

    Args:
        ids: as `CharacterTokenizer` makes them.

    Returns:
        Nothing for a text without roles. A last turn of the assistant that says nothing is left
        out: it is where the answer begins.
    """
    starts = [place for place, number in enumerate(ids) if number >= _AFTER_UNICODE]
    turns = [
        Message(_ROLES[ids[start] - _AFTER_UNICODE], as_text(ids[start + 1 : end]))
        for start, end in pairwise([*starts, len(ids)])
    ]
    if turns and turns[-1] == Message("assistant", ""):
        turns.pop()
    return tuple(turns)
