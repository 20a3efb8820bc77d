"""Exact match and word F-measure, as defined by SQuAD's evaluation.

Rajpurkar et al. 2016 (arXiv 1606.05250, section 6.1): lower case, without punctuation and articles,
against the best of the references.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

from luthier.evaluation.metrics.base import SHARE, TextScore
from luthier.evaluation.metrics.options import text_metric
from luthier.records.evaluation import SampleRecord

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Squad(TextScore):
    """The best score of a prediction against any reference.

    Args:
        name: the name for users.
        compare: scores two normalised texts, as lists of words.
    """

    bounds = SHARE

    def __init__(self, name: str, compare: Callable[[list[str], list[str]], float]) -> None:
        super().__init__(name)
        self._compare = compare

    def score(self, prediction: str, references: Sequence[str], choices: Sequence[str]) -> float:
        """Between 0 and 1."""
        words = normalised_words(prediction)
        return max(self._compare(words, normalised_words(text)) for text in references)

    def described(self, references: Sequence[Sequence[str]]) -> str:
        """The normalisation and the treatment of several references."""
        del references
        return f"{self.name}|norm:squad|refs:best"

    def caveats(self, samples: Sequence[SampleRecord]) -> tuple[str, ...]:
        """A caveat with the number of examples that have a reference without words."""
        gone = sum(
            any(not normalised_words(text) for text in sample.references) for sample in samples
        )
        found = super().caveats(samples)
        if not gone:
            return found
        return (
            f"{self.name}: {gone:,} of {len(samples):,} examples have a reference without words "
            "once articles and punctuation are removed, such as A or ?, so an empty answer is "
            "right there; use exact_match for such answers",
            *found,
        )


def normalised_words(text: str) -> list[str]:
    """Lower-case words without punctuation and articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _f_measure(predicted: list[str], accepted: list[str]) -> float:
    """The F-measure of the two bags of words; two empty ones are equal."""
    if not predicted or not accepted:
        return float(predicted == accepted)
    shared = (Counter(predicted) & Counter(accepted)).total()
    return 2 * shared / (len(predicted) + len(accepted))


def _equal(predicted: list[str], accepted: list[str]) -> float:
    return float(predicted == accepted)


em = text_metric("em", lambda name, _options: Squad(name, _equal))
token_f1 = text_metric("token_f1", lambda name, _options: Squad(name, _f_measure))
