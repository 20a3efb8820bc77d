"""Runs of words that two sets of texts share, in memory that does not grow with the second set.

Words are compared without regard to case and punctuation. The runs of the first set are kept as
64-bit hashes; the texts of the second stream past them. A hash is a polynomial in the hashes of
the words (Karp and Rabin 1987), so all runs of all lengths of a block of texts are a few
operations on arrays. Two different runs have the same one about once in 1.8e19 pairs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int64]

_WORD = re.compile(r"\w+")
_WORDS_AT_ONCE = 2**18
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, its bits well mixed
_GAP = 0x5BD1E9955BD1E995  # stands between two texts, so that no run goes from one into the next
_FILTER_BITS = 22


class Owned(NamedTuple):
    """Which text of the first set has which run: pairs, sorted by text."""

    texts_P: Numbers
    runs_P: Numbers


def num_words(text: str) -> int:
    """How many words a text has."""
    return len(_WORD.findall(text))


@dataclass(slots=True)
class RunTable:
    """The different runs of one length, and which of them were met.

    Attributes:
        hashes_R: sorted.
        places: of each run that was met, where it was met first.
    """

    hashes_R: Hashes
    places: dict[int, str] = field(default_factory=dict)
    _filter: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self._filter = np.zeros(2**_FILTER_BITS, dtype=np.bool_)
        self._filter[_slots(self.hashes_R)] = True

    def meet(self, hashes_W: Hashes, begins: Numbers, names: Sequence[str]) -> None:
        """Note which of the runs are here, in texts of these names that begin at ``begins``."""
        maybe = np.flatnonzero(self._filter[_slots(hashes_W)])
        at = np.searchsorted(self.hashes_R, hashes_W[maybe])
        at = np.minimum(at, len(self.hashes_R) - 1)
        equal = self.hashes_R[at] == hashes_W[maybe]
        runs, first = np.unique(at[equal], return_index=True)
        rows = np.searchsorted(begins, maybe[equal][first], side="right") - 1
        for run, row in zip(runs.tolist(), rows.tolist(), strict=True):
            self.places.setdefault(run, names[row])


def index_runs(texts: Sequence[str], lengths: Sequence[int]) -> dict[int, tuple[RunTable, Owned]]:
    """The runs of ``texts``, by length.

    Args:
        texts: the first set.
        lengths: of each text, how many words its runs have; at least 1.
    """
    found: dict[int, list[tuple[int, Hashes]]] = {}
    for number, (text, length) in enumerate(zip(texts, lengths, strict=True)):
        codes = _codes(_WORD.findall(text.casefold()))
        for _, hashes in _hashes(codes, [length]):
            found.setdefault(length, []).append((number, hashes))
    tables = {}
    for length, parts in found.items():
        hashes, runs = np.unique(np.concatenate([h for _, h in parts]), return_inverse=True)
        owners = np.repeat([number for number, _ in parts], [len(h) for _, h in parts])
        pairs = np.unique(owners * len(hashes) + runs)  # by text, each run of it once
        tables[length] = RunTable(hashes), Owned(*np.divmod(pairs, len(hashes)))
    return tables


def meet_texts(tables: Mapping[int, RunTable], texts: Iterable[tuple[str, str]]) -> Iterator[int]:
    """Let texts stream past the tables.

    Args:
        tables: by the length of their runs.
        texts: name and text of each.

    Yields:
        How many texts have passed, a block of them at a time.
    """
    for names, begins, codes in _blocks(texts):
        for length, hashes in _hashes(codes, sorted(tables)):
            tables[length].meet(hashes, begins, names)
        yield len(names)


def _blocks(texts: Iterable[tuple[str, str]]) -> Iterator[tuple[list[str], Numbers, Hashes]]:
    """Names, beginnings and words of some texts at a time."""
    names: list[str] = []
    begins: list[int] = []
    hashed: list[int] = []
    for name, text in texts:
        names.append(name)
        begins.append(len(hashed))
        hashed.extend(map(hash, _WORD.findall(text.casefold())))
        hashed.append(_GAP)
        if len(hashed) >= _WORDS_AT_ONCE:
            yield names, np.array(begins), np.array(hashed, dtype=np.int64).view(np.uint64)
            names, begins, hashed = [], [], []
    if names:
        yield names, np.array(begins), np.array(hashed, dtype=np.int64).view(np.uint64)


def _codes(words: Sequence[str]) -> Hashes:
    return np.fromiter(map(hash, words), dtype=np.int64, count=len(words)).view(np.uint64)


def _hashes(codes_W: Hashes, lengths: Sequence[int]) -> Iterator[tuple[int, Hashes]]:
    """The hash of each run of each length, which are in rising order."""
    hashes, length = codes_W, 1
    for wanted in lengths:
        while length < wanted and len(hashes):
            hashes = hashes[:-1] * _FACTOR + codes_W[length:]
            length += 1
        if len(hashes):
            yield wanted, hashes


def _slots(hashes: Hashes) -> Hashes:
    return hashes >> np.uint64(64 - _FILTER_BITS)
