"""What open answers are like, whatever they say: how long, and how much they repeat."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from luthier.core.errors import UsageError
from luthier.evaluation.metrics.base import SHARE, Floats, Need, TextMetric, TextScore


class Distinct(TextScore):
    """The share of different n-grams of words among those of an answer, averaged over answers.

    It is 1 where nothing is repeated. Dividing within each answer (intra-dist; Gu et al. 2019,
    "DialogWAE", arXiv 1805.12352) and not over all of them (distinct-n; Li et al.
    2016, arXiv 1510.03055) keeps the figure free of how many answers there are. An
    answer of fewer than n words repeats nothing.

    Args:
        n: words in an n-gram, at least 1.
    """

    bounds = SHARE
    needs = frozenset[Need]({"written answers"})

    def __init__(self, n: int) -> None:
        super().__init__(f"distinct:{n}")
        self._n = n

    def score(self, prediction: str, references: Sequence[str], choices: Sequence[str]) -> float:
        """From above 0 to 1."""
        words = prediction.casefold().split()
        grams = [tuple(words[i : i + self._n]) for i in range(len(words) - self._n + 1)]
        return len(set(grams)) / len(grams) if grams else 1.0

    def described(self, references: Sequence[Sequence[str]]) -> str:
        """What a word is, and over what is divided."""
        del references
        return f"{self.name}|tok:white-space+casefold|mean:answers"


class Words(TextScore):
    """The number of words of an answer. More is neither better nor worse."""

    bounds = (0.0, math.inf)
    needs = frozenset[Need]({"written answers"})

    def score(self, prediction: str, references: Sequence[str], choices: Sequence[str]) -> float:
        """Words between white space."""
        return float(len(prediction.split()))

    def described(self, references: Sequence[Sequence[str]]) -> str:
        """What a word is."""
        del references
        return f"{self.name}|tok:white-space"


class LengthRatio(TextMetric):
    """Words of all answers over those of their references, the closest in length of each.

    1 is as long as the references are. The closest is taken as in BLEU's brevity penalty (Papineni
    et al. 2002, section 2.2.2).
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
        """Words over words; 0 where the references have none."""
        del count
        return np.divide(
            summed[..., 0],
            summed[..., 1],
            out=np.zeros_like(summed[..., 0]),
            where=summed[..., 1] > 0,
        )

    def described(self, references: Sequence[Sequence[str]]) -> str:
        """What a word is, and which reference counts."""
        del references
        return f"{self.name}|tok:white-space|refs:closest"


def distinct(n: str = "") -> Distinct:
    """The metric for n-grams of ``n`` words.

    Raises:
        UsageError: n is no number of at least 1.
    """
    if not n.isdecimal() or int(n) < 1:
        raise UsageError(
            "distinct does not know the length of its n-grams",
            fix="write distinct:N, such as distinct:2",
        )
    return Distinct(int(n))


words = partial(Words, "words")
length_ratio = partial(LengthRatio, "length_ratio")
