"""Test examples that the training data already contains, found by shared runs of words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Contamination:
    """Which test texts share a run of words with the training texts.

    Attributes:
        ids: the ids of those that do, in order.
        checked: how many texts were long enough to be checked.
        words: the length of the run.
    """

    ids: tuple[str, ...]
    checked: int
    words: int

    @property
    def share(self) -> float:
        """The share of the checked texts."""
        return len(self.ids) / self.checked if self.checked else 0.0


def find_contamination(
    train: Iterable[str], test: Iterable[tuple[str, str]], words: int = 13
) -> Contamination:
    """Find the test texts that share ``words`` words in a row with a training text.

    Words are compared case-folded and without punctuation. Runs of 13 are what GPT-3 was checked
    with (Brown et al. 2020, arXiv 2005.14165, appendix C). Memory grows with the test texts
    only, so the training texts may be a stream.

    Args:
        train: the training texts.
        test: id and text of each test example; those shorter than ``words`` are not checked.
        words: the length of the run.
    """
    owners: dict[tuple[str, ...], set[str]] = {}
    checked: dict[str, None] = {}
    for identity, text in test:
        for run in _runs(text, words):
            owners.setdefault(run, set()).add(identity)
            checked[identity] = None
    found: set[str] = set()
    for text in train:
        for run in _runs(text, words):
            found |= owners.get(run, set())
    return Contamination(tuple(name for name in checked if name in found), len(checked), words)


def _runs(text: str, words: int) -> Iterator[tuple[str, ...]]:
    found = _WORD.findall(text.casefold())
    return (tuple(found[start : start + words]) for start in range(len(found) - words + 1))
