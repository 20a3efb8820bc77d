"""Where a text can be cut without encoding its first part again.

A tokenizer of the Rust kind looks for special tokens first, and encodes what stands between them
piece by piece. So the tokens of a text up to a place are those of the whole text up to the last
special token before it, and those of the piece from there. Prompts end with such a piece, and it
is nearly always the same.
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
    """Where a text is cut between its tokens.

    Attributes:
        at: how many tokens stand before it.
        is_clean: whether these are the tokens of the text before the cut.
    """

    at: int
    is_clean: bool


@dataclass(frozen=True)  # no slots: they exclude cached properties
class Anchors:
    """The special tokens of a tokenizer as places to cut.

    Attributes:
        pattern: finds all names of special tokens in a text.
        ids: of special tokens, by name.
        guarded: ids that only stand where a special token is meant.
        added: the tokenizer's added tokens.
    """

    pattern: re.Pattern[str]
    ids: Mapping[str, int]
    guarded: Collection[int]
    added: Collection[Any]
    _names: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        # Others are looked for in a text that was normalised, or depend on what stands around.
        plain = (
            str(each.content) for each in self.added if not (each.normalized or each.single_word)
        )
        names = frozenset(name for name in plain if self.ids.get(name) in self.guarded)
        object.__setattr__(self, "_names", names)

    @cached_property
    def last(self) -> Callable[[str, int], int]:
        """Where the last one of a text begins that ends at a place or before it; 0: there is none.

        It is asked for when texts are encoded ahead, and again when they are used.
        """
        return lru_cache(maxsize=_LAST_TEXTS)(self._last)

    @cached_property
    def meant(self) -> Callable[[str], list[int]]:
        """Where a text spells out special tokens that are guarded."""
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
        """The ids of ``text[:start]``, where a special token begins; None: they cannot be told.

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
