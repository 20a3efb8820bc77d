"""Where a text can be cut without encoding its first part again.

A tokenizer of the Rust kind looks for special tokens first, and encodes what stands between them
piece by piece. So the tokens of a text up to a place are those of the whole text up to the last
special token before it, and those of the piece from there. Prompts end with such a piece, and it
is nearly always the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Boundary(NamedTuple):
    """Where a text is cut between its tokens.

    Attributes:
        at: how many tokens stand before it.
        is_clean: whether these are the tokens of the text before the cut.
    """

    at: int
    is_clean: bool


@dataclass(frozen=True)
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

    def last(self, text: str, place: int) -> int:
        """Where the last one begins that ends at ``place`` or before it; 0 where there is none."""
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
        meant = [
            m.start() for m in self.pattern.finditer(text) if self.ids.get(m[0]) in self.guarded
        ]
        found = [at for at, token in enumerate(whole) if token in self.guarded]
        if len(meant) != len(found) or start not in meant:
            return None
        return tuple(whole[: found[meant.index(start)]])
