"""What is asked of a tokenizer, and text whose special tokens stay text.

Only a tokenizer or its chat template may make special tokens. A row that spells one out, such as
``<|im_end|>``, would otherwise end its own turn and could begin another in anybody's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

# Unicode guarantees that these two never stand for a character, so rows hardly ever have them;
# where one does, it is hidden like a special token.
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
_HIDDEN = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that prompts need."""

    @property
    def bos_token_id(self) -> int | None:
        """The token that begins a text."""

    @property
    def eos_token(self) -> str | None:
        """The token that ends a text or a turn."""

    @property
    def eos_token_id(self) -> int | None:
        """Its id."""

    @property
    def chat_template(self) -> Any:
        """How conversations are written; None for a tokenizer of a base model."""

    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]:
        """The added tokens by id; each has ``content`` and ``special``."""

    def __call__(
        self, text: str, *, add_special_tokens: bool, split_special_tokens: bool
    ) -> Mapping[str, Any]:
        """``input_ids`` of ``text``; special tokens in it are split like other text or kept."""

    def get_chat_template(self) -> str:
        """The template that writes a conversation."""

    def apply_chat_template(
        self,
        conversation: list[dict[str, str]],
        *,
        tokenize: bool,
        add_generation_prompt: bool,
        **values: Any,
    ) -> Any:
        """The conversation as the model was trained to see it."""


class Encoder:
    """Turns text into ids, keeping special tokens that were `hide`-den from being special."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder.values()
        special = {str(token.content) for token in added if token.special}
        # The longest first: a special token may begin with another one.
        self._special = [*sorted(special - {""}, key=len, reverse=True), _OPEN, _CLOSE]
        self._pattern = re.compile("|".join(map(re.escape, self._special)))

    @cached_property
    def begin(self) -> tuple[int, ...]:
        """The token that begins a plain text, where the tokenizer adds one."""
        custom = self.literal_ids("", add_special_tokens=True)
        return custom[:1] if custom[:1] == (self._tokenizer.bos_token_id,) else ()

    def hide(self, text: str) -> str:
        """``text`` with a mark in place of each special token that it spells out."""
        return self._pattern.sub(
            lambda match: f"{_OPEN}{self._special.index(match.group())}{_CLOSE}", text
        )

    def show(self, text: str) -> str:
        """``text`` as it was before `hide`."""
        return _HIDDEN.sub(lambda match: self._special[int(match.group(1))], text)

    def ids(self, text: str) -> tuple[int, ...]:
        """Ids of marked-up text: special tokens count as such, hidden ones as plain text."""
        if _OPEN not in text:
            return self._encode(text, literal=False)
        return tuple(token for piece in self._pieces(text) for token in piece)

    def literal_ids(self, text: str, *, add_special_tokens: bool = False) -> tuple[int, ...]:
        """Ids of plain text, perhaps with the special tokens around it that are the custom."""
        return self._encode(text, literal=True, add_special_tokens=add_special_tokens)

    def _pieces(self, text: str) -> Iterator[tuple[int, ...]]:
        for index, piece in enumerate(_HIDDEN.split(text)):
            if index % 2:
                yield self.literal_ids(self._special[int(piece)])
            elif piece:
                yield self._encode(piece, literal=False)

    def _encode(
        self, text: str, *, literal: bool, add_special_tokens: bool = False
    ) -> tuple[int, ...]:
        encoded = self._tokenizer(
            text, add_special_tokens=add_special_tokens, split_special_tokens=literal
        )
        ids: Sequence[int] = encoded["input_ids"]
        return tuple(ids)
