"""The words of prompts that come from their rows, without the frame around them.

The frame is the text of the template or instruction, such as "Team (ledger, dock, returns):". Four
words in a row that more than half of the texts contain belong to it, and fewer words with which
more than half of them start or end.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

_RUN = 4
_SHARE = 0.5
_LEAST_TEXTS = 3  # words that only two texts share are no frame
_EDGE = ("",) * (_RUN - 1)  # so that fewer words can be a frame at the start or the end
_WORD = re.compile(r"\w+")


def row_pieces(texts: Sequence[str], words: int) -> list[list[str]]:
    """The pieces of each text between parts of the frame: those of at least ``words`` words.

    If a text has no such piece, its longest one.

    Args:
        texts: prompts with their answers.
        words: number of words of a piece.
    """
    split = [[*_EDGE, *_WORD.findall(text.casefold()), *_EDGE] for text in texts]
    counts = Counter(run for own in split for run in set(_runs(own)))
    most = max(_SHARE * len(texts), _LEAST_TEXTS - 1)
    frame = {run for run, count in counts.items() if count > most}
    return [_long_pieces(own, frame, words) for own in split]


def _runs(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(_RUN)), strict=False)


def _long_pieces(own: Sequence[str], frame: set[tuple[str, ...]], words: int) -> list[str]:
    in_frame = [False] * len(own)
    for start, run in enumerate(_runs(own)):
        if run in frame:
            in_frame[start : start + _RUN] = [True] * _RUN
    marked = groupby(zip(own, in_frame, strict=True), key=lambda pair: pair[1])
    pieces = [[word for word, _ in pairs if word] for is_frame, pairs in marked if not is_frame]
    chosen = [piece for piece in pieces if len(piece) >= words]
    chosen = chosen or sorted(pieces, key=len, reverse=True)[:1]
    return [" ".join(piece) for piece in chosen]
