"""Near-duplicates among texts: MinHash signatures find candidates, exact Jaccard verifies them.

A text is the set of its words and pairs of neighbouring words. Two texts are near-duplicates if
they share at least 0.4 of what either contains (Jaccard), which is about 0.6 of the words. What
occurs in more than half of the texts is the frame of the task, such as an instruction, and does not
count. Groups are connected components: a near-copy of a near-copy belongs to the group.

Broder 1997 (On the resemblance and containment of documents) for MinHash; Leskovec, Rajaraman and
Ullman (Mining of Massive Datasets, section 3.4) for the bands of signatures that texts must share.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from luthier.core.example import Example
from luthier.data.identity import normalised_text

Numbers = NDArray[np.int64]
Shingles = NDArray[np.uint64]
Signatures = NDArray[np.uint32]

THRESHOLDS = (0.4, 0.6, 0.8)
"""Least similarities, from the usual one to the tightest.

At 0.4 the 24 templates of 300 generated support tickets are 24 groups; at 0.5 they are 28, since
short tickets with another greeting and another number fall out. On 7,473 questions of GSM8K the
largest group has 3 rows at 0.4, on 5,000 of Alpaca 9, on 4,000 dialogues 4, on 6,000 sentences of
CoLA, which were written as variants of each other, 60. With words only, 0.4 chains 742 of CoLA.
"""
LARGEST_SHARE = 0.5
"""A group of more than this share of the texts is a chain, for which the threshold is tightened."""
_FRAME_SHARE = 0.5
_PERMUTATIONS = 256
_BAND_ROWS = ((5_000, 2), (50_000, 3), (10**18, 4))
"""Signature values per band for up to so many texts. With 2, 3 and 4 values the bands miss 2e-10,
0.4 % and 19 % of the pairs at 0.4, and 4e-17, 1e-5 and 1.6 % at 0.5; more rows compare less."""
_MOST_COMPARED = 1_000
"""A text is compared with so many others of its band, so that time stays linear."""
_ESTIMATE_MARGIN = 0.13  # four standard errors of a similarity from 256 values
_AT_ONCE = 2**12  # shingles hashed together, which bounds memory
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
# Scripts without spaces between words count each character as a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")


@dataclass(frozen=True)
class NearDuplicates:
    """Groups of texts that are near-duplicates.

    Attributes:
        groups_N: the number of the group of each text; a text without near-duplicates has its own.
        threshold: the least Jaccard similarity of two texts that were joined; None: none were.
    """

    groups_N: tuple[int, ...]
    threshold: float | None

    @cached_property
    def members(self) -> tuple[tuple[int, ...], ...]:
        """The indices of the texts of each group with at least two, in order."""
        found: dict[int, list[int]] = {}
        for index, group in enumerate(self.groups_N):
            found.setdefault(group, []).append(index)
        return tuple(tuple(group) for group in found.values() if len(group) > 1)

    @property
    def num_texts(self) -> int:
        """Number of texts with a near-duplicate."""
        return sum(map(len, self.members))

    @property
    def largest(self) -> int:
        """Number of texts of the largest group."""
        return max(Counter(self.groups_N).values(), default=0)

    @property
    def num_groups(self) -> int:
        """Number of groups, counting each text without near-duplicates."""
        return len(set(self.groups_N))


@dataclass(frozen=True)
class JoinedGroups:
    """Groups of texts, made one unit where their texts are near-duplicates.

    Attributes:
        all: the near-duplicates at the lowest threshold.
        kept: those whose groups were joined.
        units: the unit of each group, which has the least name of the groups that were joined.
    """

    all: NearDuplicates
    kept: NearDuplicates
    units: Mapping[str, str]

    @property
    def is_whole(self) -> bool:
        """Whether no near-duplicates are in two units."""
        return self.kept.threshold == self.all.threshold

    @property
    def is_chained_by_groups(self) -> bool:
        """Whether near-duplicates chain most texts only through groups."""
        return not self.is_whole and self.all.largest <= LARGEST_SHARE * len(self.all.groups_N)


def compared_text(example: Example) -> str:
    """The text in which examples are compared: the prompt without system messages.

    Plain text is compared itself.
    """
    turns = [message for message in example.messages if message.role != "system"]
    return "\n".join([turn.content for turn in turns] or example.references)


def find_near_duplicates(
    texts: Sequence[str], advance: Callable[[], object] = lambda: None
) -> NearDuplicates:
    """The groups of near-duplicates among texts, the same in any order of the texts.

    The first of `linked_texts` without a group of more than half of the texts.

    Args:
        texts: the texts, such as prompts.
        advance: called for each different text.
    """
    most = LARGEST_SHARE * len(texts)
    every = linked_texts(texts, advance)
    return next(found for found in every if found.largest <= max(most, 1))


def linked_texts(
    texts: Sequence[str], advance: Callable[[], object] = lambda: None
) -> Iterator[NearDuplicates]:
    """The groups of near-duplicates among texts at each threshold, and then no groups.

    Up to 5,000 different texts hardly any pair above the threshold is missed; up to 50,000 one in
    250 at the threshold itself, above that one in 5. Most of these are found through others of
    their group.

    Args:
        texts: the texts, such as prompts.
        advance: called for each different text.
    """
    distinct, index_N = _distinct(texts)
    shingles = _without_frame(list(_shingled(distinct)), index_N)
    signatures = _signatures(shingles, advance)
    for threshold in THRESHOLDS:
        roots = _linked(shingles, signatures, threshold)
        yield NearDuplicates(tuple(roots[index_N].tolist()), threshold)
    yield from unlinked_texts(texts)


def join_groups(groups: Sequence[str], tried: Iterable[NearDuplicates]) -> JoinedGroups:
    """The units of groups: the first that hold at most half of the texts each.

    Args:
        groups: the name of the group of each text. A group may be larger than half of the texts.
        tried: the near-duplicates among the texts, from loosely to tightly joined.
    """
    most = max(Counter(groups).values(), default=0)
    most = max(most, int(LARGEST_SHARE * len(groups)))
    every: list[NearDuplicates] = []
    units: dict[str, str] = {}
    for found in tried:
        every.append(found)
        units = _units(groups, found)
        if max(Counter(units[group] for group in groups).values(), default=0) <= most:
            break
    return JoinedGroups(every[0], every[-1], units)


def _units(groups: Sequence[str], found: NearDuplicates) -> dict[str, str]:
    """The name of the unit of each group: the least name of the groups that are joined to it."""
    names = {group: group for group in groups}

    def first(group: str) -> str:
        while names[group] != group:
            group = names[group]
        return group

    for members in found.members:
        joined = {first(groups[index]) for index in members}
        for group in joined:
            names[group] = min(joined)
    return {group: first(group) for group in names}


def unlinked_texts(texts: Sequence[str]) -> Iterator[NearDuplicates]:
    """Each text as a group of its own."""
    yield NearDuplicates(tuple(range(len(texts))), None)


def _distinct(texts: Sequence[str]) -> tuple[list[str], Numbers]:
    """The different normalised texts in order, and the index of each text's own ``[N]``."""
    normalised = [normalised_text(text) for text in texts]
    distinct = sorted(set(normalised))
    place = {text: index for index, text in enumerate(distinct)}
    return distinct, np.array([place[text] for text in normalised], dtype=np.int64)


def _shingled(texts: Iterable[str]) -> Iterator[Shingles]:
    """The hashes of the words and pairs of words of each text, each once and in order."""
    hashes: dict[str, int] = {}
    for text in texts:
        words = _WORD.findall(text)
        for word in words:
            if word not in hashes:
                digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8)
                hashes[word] = int.from_bytes(digest.digest(), "little")
        single = np.array([hashes[word] for word in words], dtype=np.uint64)
        yield np.unique(np.concatenate([single, single[:-1] * _FACTOR + single[1:]]))


def _without_frame(shingles: Sequence[Shingles], index_N: Numbers) -> list[Shingles]:
    """The shingles that at most half of the texts contain."""
    if not shingles:
        return []
    sizes = np.bincount(index_N, minlength=len(shingles))
    joined = np.concatenate(shingles)
    values, place = np.unique(joined, return_inverse=True)
    counts = np.bincount(place, weights=np.repeat(sizes, [len(own) for own in shingles]))
    frame = values[counts > _FRAME_SHARE * len(index_N)]
    return [own[~np.isin(own, frame, assume_unique=True)] for own in shingles]


def _signatures(shingles: Sequence[Shingles], advance: Callable[[], object]) -> Signatures:
    """The MinHash signature of each set: ``[sets, permutations]``."""
    from datasketch import MinHash

    signatures = np.empty((len(shingles), _PERMUTATIONS), dtype=np.uint32)
    empty = MinHash(_PERMUTATIONS, seed=1, hashfunc=int, scheme="affine32")
    for row, own in enumerate(shingles):
        advance()
        minhash = empty.copy()
        low = (own >> np.uint64(32)).tolist()
        for start in range(0, len(low), _AT_ONCE):
            minhash.update_batch(low[start : start + _AT_ONCE])
        signatures[row] = minhash.hashvalues
    return signatures


def _linked(shingles: Sequence[Shingles], signatures: Signatures, threshold: float) -> Numbers:
    """The first text of the group of each text."""
    roots = np.arange(len(shingles))
    filled = np.flatnonzero([len(own) > 0 for own in shingles])
    width = next(rows for most, rows in _BAND_ROWS if len(shingles) <= most)
    for start in range(0, _PERMUTATIONS - width + 1, width):
        keys = _keys(signatures[filled, start : start + width])
        for one, other in _neighbours(
            filled[np.argsort(keys, kind="stable")], np.sort(keys), roots
        ):
            equal = (signatures[one] == signatures[other]).mean(axis=1)
            likely = equal >= threshold - _ESTIMATE_MARGIN
            for pair in zip(one[likely].tolist(), other[likely].tolist(), strict=True):
                _join(roots, shingles, pair, threshold)
            _flatten(roots)
    return roots


def _keys(band: Signatures) -> Shingles:
    """A hash of each row of a band."""
    keys = np.zeros(len(band), dtype=np.uint64)
    for column in band.T:
        keys = (keys ^ column) * _FACTOR
        keys ^= keys >> np.uint64(29)
    return keys


def _neighbours(
    ordered: Numbers, keys: Shingles, roots: Numbers
) -> Iterator[tuple[Numbers, Numbers]]:
    """Pairs of texts with equal keys and different groups: those next to each other, then further.

    Args:
        ordered: the texts by key.
        keys: their keys, sorted.
        roots: the group of each text, which may change in between.
    """
    at = np.arange(len(ordered))
    for step in range(1, _MOST_COMPARED + 1):
        at = at[at + step < len(ordered)]
        at = at[keys[at] == keys[at + step]]
        if not len(at):
            return
        one, other = ordered[at], ordered[at + step]
        apart = roots[one] != roots[other]
        for start in range(0, int(apart.sum()), _AT_ONCE):
            chosen = slice(start, start + _AT_ONCE)
            yield one[apart][chosen], other[apart][chosen]


def _join(
    roots: Numbers, shingles: Sequence[Shingles], pair: tuple[int, int], threshold: float
) -> None:
    """Make one group of the groups of two texts if they are near-duplicates."""
    first, last = sorted(_root(roots, one) for one in pair)
    if first == last:
        return
    one, other = (shingles[index] for index in pair)
    shared = len(np.intersect1d(one, other, assume_unique=True))
    if shared >= threshold * (len(one) + len(other) - shared):
        roots[last] = first


def _root(roots: Numbers, index: int) -> int:
    while roots[index] != index:
        index = int(roots[index])
    return index


def _flatten(roots: Numbers) -> None:
    """Let each text point to the first of its group."""
    while (roots[roots] != roots).any():
        roots[:] = roots[roots]
