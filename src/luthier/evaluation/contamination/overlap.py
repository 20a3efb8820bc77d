"""Word n-grams shared by two sets of texts, with memory independent of the second set.

Words are compared ignoring case and punctuation. The n-grams of the first set are stored as 64-bit
hashes, and the texts of the second are streamed. A hash is a polynomial (Karp and Rabin 1987)
modulo 2^64: of a word in its characters, of an n-gram in its words. With prefix sums over a block,
any piece is a difference of two sums, so all words and n-grams of many texts take a few array
operations. Two different n-grams have the same hash about once in 1.8e19 pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int64]

_CHARACTERS_AT_ONCE = 2**18
_FACTOR = 0x9E3779B97F4A7C15  # odd, so that it is invertible, with well-mixed bits
_FILTER_BITS = 22


class Owned(NamedTuple):
    """The n-grams of each text in the first set: pairs sorted by text."""

    texts_P: Numbers
    runs_P: Numbers


class _Block(NamedTuple):
    """A block of texts: their names, and the hash and the text number of each word."""

    names: list[str]
    hashes_W: Hashes
    texts_W: Numbers

    def runs(self, length: int) -> Hashes:
        """The hash of each n-gram, including those across texts."""
        return _differences(
            _sums(self.hashes_W), np.arange(len(self.hashes_W) - length + 1), length
        )

    def is_whole(self, starts: Numbers, length: int) -> NDArray[np.bool_]:
        """Whether the n-grams starting there lie within a text."""
        whole: NDArray[np.bool_] = self.texts_W[starts] == self.texts_W[starts + length - 1]
        return whole


@dataclass(slots=True)
class RunTable:
    """The distinct n-grams of one length, and where they were found.

    Attributes:
        hashes_R: the sorted hashes.
        length: number of words.
        places: the first location of each n-gram that was found.
    """

    hashes_R: Hashes
    length: int
    places: dict[int, str] = field(default_factory=dict)
    _filter: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self._filter = np.zeros(2**_FILTER_BITS, dtype=np.bool_)
        self._filter[_slots(self.hashes_R)] = True

    def meet(self, block: _Block) -> None:
        """Record which n-grams occur in the texts of a block."""
        if len(block.hashes_W) < self.length:
            return
        hashes = block.runs(self.length)
        maybe = np.flatnonzero(self._filter[_slots(hashes)])
        at = np.minimum(np.searchsorted(self.hashes_R, hashes[maybe]), len(self.hashes_R) - 1)
        met = (self.hashes_R[at] == hashes[maybe]) & block.is_whole(maybe, self.length)
        runs, first = np.unique(at[met], return_index=True)
        texts = block.texts_W[maybe[met][first]]
        for run, text in zip(runs.tolist(), texts.tolist(), strict=True):
            self.places.setdefault(run, block.names[text])


def index_runs(texts: Sequence[str], words: int, least: int) -> list[tuple[RunTable, Owned]]:
    """The n-grams of ``texts``, in a table for each length.

    Args:
        texts: the first set.
        words: the n of the n-grams; a shorter text is one n-gram as a whole.
        least: texts with fewer words have none.
    """
    found: dict[int, list[tuple[Numbers, Hashes]]] = {}
    before = 0
    for block in _blocks(("", text) for text in texts):
        sizes = np.bincount(block.texts_W, minlength=len(block.names))
        for length in np.unique(np.minimum(sizes[sizes >= least], words)).tolist():
            starts = np.arange(len(block.hashes_W) - length + 1)
            starts = starts[block.is_whole(starts, length)]
            starts = starts[np.minimum(sizes, words)[block.texts_W[starts]] == length]
            hashes = block.runs(length)[starts]
            found.setdefault(length, []).append((before + block.texts_W[starts], hashes))
        before += len(block.names)
    return [_table(length, parts) for length, parts in found.items()]


def meet_texts(tables: Iterable[RunTable], texts: Iterable[tuple[str, str]]) -> Iterator[int]:
    """Search a stream of texts for the n-grams of the tables.

    Args:
        tables: the n-grams to search for.
        texts: name and text of each.

    Yields:
        The number of texts searched so far, after each block.
    """
    looked_for = list(tables)
    for block in _blocks(texts):
        for table in looked_for:
            table.meet(block)
        yield len(block.names)


def _table(length: int, parts: Sequence[tuple[Numbers, Hashes]]) -> tuple[RunTable, Owned]:
    hashes, runs = np.unique(np.concatenate([h for _, h in parts]), return_inverse=True)
    owners = np.concatenate([texts for texts, _ in parts])
    pairs = np.sort(owners * len(hashes) + runs)
    pairs = pairs[np.diff(pairs, prepend=-1) != 0]  # each n-gram of a text once
    return RunTable(hashes, length), Owned(*np.divmod(pairs, len(hashes)))


def _blocks(texts: Iterable[tuple[str, str]]) -> Iterator[_Block]:
    names: list[str] = []
    folded: list[str] = []
    size = 0
    for name, text in texts:
        names.append(name)
        folded.append(text.casefold())
        size += len(text)
        if size >= _CHARACTERS_AT_ONCE:
            yield _Block(names, *_words(folded))
            names, folded, size = [], [], 0
    if names:
        yield _Block(names, *_words(folded))


def _words(texts: Sequence[str]) -> tuple[Hashes, Numbers]:
    """The hash of each word of the texts, and the number of its text."""
    joined = "\n".join(texts).encode("utf-32-le", "surrogatepass")
    characters = np.frombuffer(joined, dtype="<u4")
    inside = _is_in_word()[characters]
    edges = np.flatnonzero(np.diff(inside, prepend=False, append=False))
    starts, ends = edges[::2], edges[1::2]
    hashes = _mixed(_differences(_sums(characters.astype(np.uint64)), starts, ends - starts))
    begins = np.cumsum([0, *(len(text) + 1 for text in texts)])
    numbers = np.diff(np.searchsorted(starts, begins))
    return hashes, np.repeat(np.arange(len(texts)), numbers)


def _sums(values_N: Hashes) -> Hashes:
    """Σ v_i F^i over the first 0, 1, … of the values: ``[N + 1]``."""
    sums = np.zeros(len(values_N) + 1, dtype=np.uint64)
    np.cumsum(values_N * _powers(_FACTOR, len(values_N)), out=sums[1:])
    return sums


def _differences(sums: Hashes, starts: Numbers, lengths: Numbers | int) -> Hashes:
    """Σ v_i F^(i - start) over the values of each piece, independent of its position."""
    inverse = _powers(pow(_FACTOR, -1, 2**64), len(sums))
    hashes: Hashes = (sums[starts + lengths] - sums[starts]) * inverse[starts]
    return hashes


def _mixed(hashes: Hashes) -> Hashes:
    """Hashes that are no longer sums (the end of SplitMix64, Steele et al. 2014).

    Otherwise "ab c" and "ac b" would have the same sum.
    """
    mixed = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _powers(factor: int, count: int) -> Hashes:
    """The first powers of a number, modulo 2^64."""
    return _all_powers(factor, max(count, _CHARACTERS_AT_ONCE * 2).bit_length())[:count]


@lru_cache(maxsize=4)
def _all_powers(factor: int, bits: int) -> Hashes:
    powers = np.full(2**bits, factor, dtype=np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)


@lru_cache(maxsize=1)
def _is_in_word() -> NDArray[np.bool_]:
    """Whether each character belongs to words: letters, digits and the underscore."""
    table = np.fromiter((chr(code).isalnum() for code in range(0x110000)), dtype=np.bool_)
    table[ord("_")] = True
    return table


def _slots(hashes: Hashes) -> Hashes:
    return hashes >> np.uint64(64 - _FILTER_BITS)
