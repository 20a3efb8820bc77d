"""Reference-free properties of open answers: length and repetition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from luthier.core.errors import UsageError
from luthier.evaluation.metrics.base import SHARE, Floats, Need, TextMetric, TextScore


class Distinct(TextScore):
    """The share of distinct word n-grams in an answer, averaged over answers.

    It is 1 without repetition. Dividing within each answer (intra-dist; Gu et al. 2019,
    "DialogWAE", arXiv 1805.12352) instead of over all of them (distinct-n; Li et al. 2016, arXiv
    1510.03055) makes it independent of the number of answers. An answer with fewer than n words has
    no repetition.

    Args:
        n: words per n-gram, at least 1.
    """

    bounds = SHARE
    needs = frozenset[Need]({"written answers"})

    def __init__(self, n: int) -> None:
        super().__init__(f"distinct:{n}")
        self._n = n

    def score(self, prediction: str, references: Sequence[str], choices: Sequence[str]) -> float:
        """Above 0, up to 1."""
        words = prediction.casefold().split()
        grams = [tuple(words[i : i + self._n]) for i in range(len(words) - self._n + 1)]
        return len(set(grams)) / len(grams) if grams else 1.0

    def described(self, references: Sequence[Sequence[str]]) -> str:
        """The definition of a word, and the divisor."""
        del references
        return f"{self.name}|tok:white-space+casefold|mean:answers"


class Words(TextScore):
    """The number of words of an answer. Neither more nor less is better."""

    bounds = (0.0, math.inf)
    needs = frozenset[Need]({"written answers"})

    def score(self, prediction: str, references: Sequence[str], choices: Sequence[str]) -> float:
        """The number of words, separated by white space."""
        return float(len(prediction.split()))

    def described(self, references: Sequence[Sequence[str]]) -> str:
        """The definition of a word."""
        del references
        return f"{self.name}|tok:white-space"


class LengthRatio(TextMetric):
    """Words of all answers over words of their references, the closest in length of each.

    1 means as long as the references. The closest one is chosen as in BLEU's brevity penalty
    (Papineni et al. 2002, section 2.2.2).
    """

    bounds = (0.0, math.inf)
    needs = frozenset[Need]({"written answers"})

    def statistics(
        self,
        predictions: Sequence[str],
        references: Sequence[Sequence[str]],
        choices: Sequence[Sequence[str]] = (),
    ) -> Floats:
        """Words of the answer and of the reference: ``[n, 2]``."""
        del choices
        rows: list[tuple[int, int]] = []
        for prediction, accepted in zip(predictions, references, strict=True):
            words = len(prediction.split())
            lengths = [len(reference.split()) for reference in accepted]
            rows.append((words, min(lengths, key=lambda n: (abs(n - words), n), default=0)))
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def aggregate(self, summed: Floats, count: Floats) -> Floats:
        """Words over words; 0 if the references have none."""
        del count
        return np.divide(
            summed[..., 0],
            summed[..., 1],
            out=np.zeros_like(summed[..., 0]),
            where=summed[..., 1] > 0,
        )

    def described(self, references: Sequence[Sequence[str]]) -> str:
        """The definition of a word, and the reference that counts."""
        del references
        return f"{self.name}|tok:white-space|refs:closest"


def distinct(n: str = "") -> Distinct:
    """The metric for n-grams of ``n`` words.

    Raises:
        UsageError: n is not a number of at least 1.
    """
    if not n.isdecimal() or int(n) < 1:
        raise UsageError(
            "distinct needs the length of its n-grams",
            fix="write distinct:N, such as distinct:2",
        )
    return Distinct(int(n))


words = partial(Words, "words")
length_ratio = partial(LengthRatio, "length_ratio")
