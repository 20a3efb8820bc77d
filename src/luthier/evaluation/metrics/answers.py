"""Metrics of short answers: right or wrong."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from luthier.evaluation.metrics.base import SHARE, Need, TextScore
from luthier.evaluation.metrics.options import text_metric

# Brackets, quotes, and the signs of Markdown, LaTeX and lists.
_WRAPPERS = "([{<\"'`*_#-•$\u201c\u2018\u300c\u201e\u00ab\uff08\u3010 \t\n"


class ExactMatch(TextScore):
    """1 if the prediction equals a reference, ignoring surrounding white space."""

    bounds = SHARE

    def score(self, prediction: str, references: Sequence[str], choices: Sequence[str]) -> float:
        """1 or 0."""
        return float(prediction.strip() in {reference.strip() for reference in references})

    def described(self, references: Sequence[Sequence[str]]) -> str:
        """The normalisation and the treatment of several references."""
        del references
        return f"{self.name}|norm:strip|refs:any"


class Accuracy(TextScore):
    """1 if the chosen one of a closed set of answers is a reference.

    The generated text is mapped to a choice by `chosen`; a text that names no choice is wrong.
    """

    bounds = SHARE
    needs = frozenset[Need]({"answers", "choices"})

    def score(self, prediction: str, references: Sequence[str], choices: Sequence[str]) -> float:
        """1 or 0."""
        right = {normalised(reference) for reference in references}
        return float(chosen(prediction, choices) in right)

    def described(self, references: Sequence[Sequence[str]]) -> str:
        """The mapping from text to choice, and the normalisation."""
        del references
        return f"{self.name}|norm:strip+casefold|choice:equal,longest-prefix,unwrapped|refs:any"


def chosen(prediction: str, choices: Sequence[str]) -> str | None:
    """The normalised choice that a generated text names, or None.

    Stripped and case-folded, the text names the choice that it equals, otherwise the longest choice
    that it starts with and that ends at a word boundary of the text: of *no* and *not sure*, "Not
    sure, as ..." names the second, and "Nothing" names neither. If it names none this way, signs
    around its start are ignored: "(B)", "**B**" and "- B" name B.
    """
    answer = normalised(prediction)
    known = {normalised(choice) for choice in choices}
    return _meant(answer, known) or _meant(answer.lstrip(_WRAPPERS), known)


def _meant(answer: str, known: Collection[str]) -> str | None:
    if answer in known:
        return answer
    begun = [choice for choice in known if _starts_with_words(answer, choice)]
    return max(begun, key=len, default=None)


def _starts_with_words(answer: str, choice: str) -> bool:
    return answer.startswith(choice) and not answer[len(choice)].isalnum()


def normalised(text: str) -> str:
    """The text without surrounding white space, case-folded."""
    return text.strip().casefold()


exact_match = text_metric("exact_match", lambda name, _options: ExactMatch(name))
accuracy = text_metric("accuracy", lambda name, _options: Accuracy(name))
