"""Places to cut a text without encoding its first part again.

A Rust tokenizer splits a text at special tokens first, and encodes each piece between them. So the
tokens up to a place are those of the whole text up to the last special token before it, and those
of the piece from there. Prompts end with such a piece, which is nearly always the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import compress, count
from typing import Any, NamedTuple

_LAST_TEXTS = 1024


class Boundary(NamedTuple):
    """A cut between the tokens of a text.

    Attributes:
        at: the number of tokens before the cut.
        is_clean: whether these equal the tokens of the text before the cut.
    """

    at: int
    is_clean: bool


@dataclass(frozen=True)  # no slots: they exclude cached properties
class Anchors:
    """The special tokens of a tokenizer as places to cut.

    Attributes:
        pattern: matches all names of special tokens in a text.
        ids: the ids of special tokens, by name.
        guarded: ids that occur only as intended special tokens.
        added: the tokenizer's added tokens.
    """

    pattern: re.Pattern[str]
    ids: Mapping[str, int]
    guarded: Collection[int]
    added: Collection[Any]
    _names: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        # Other tokens are matched after normalisation, or depend on the characters around them.
        plain = (
            str(each.content) for each in self.added if not (each.normalized or each.single_word)
        )
        names = frozenset(name for name in plain if self.ids.get(name) in self.guarded)
        object.__setattr__(self, "_names", names)

    @cached_property
    def last(self) -> Callable[[str, int], int]:
        """The start of a text's last special token that ends by a given place; 0 if there is none.

        It is cached, because texts need it when they are encoded ahead and again when used.
        """
        return lru_cache(maxsize=_LAST_TEXTS)(self._last)

    @cached_property
    def meant(self) -> Callable[[str], list[int]]:
        """The places of guarded special tokens in a text."""
        return lru_cache(maxsize=1)(self._meant)

    def _meant(self, text: str) -> list[int]:
        found = self.pattern.finditer(text)
        return [match.start() for match in found if self.ids.get(match[0]) in self.guarded]

    def _last(self, text: str, place: int) -> int:
        last = 0
        for match in self.pattern.finditer(text, 0, place):
            if match[0] in self._names:
                last = match.start()
        return last

    def before(self, whole: Sequence[int], text: str, start: int) -> tuple[int, ...] | None:
        """The ids of ``text[:start]``, which ends before a special token; None if not known.

        Args:
            whole: the ids of ``text``.
            text: the text.
            start: from `last`.
        """
        meant = self.meant(text)
        found = list(compress(count(), map(self.guarded.__contains__, whole)))
        if len(meant) != len(found) or start not in meant:
            return None
        return tuple(whole[: found[meant.index(start)]])
