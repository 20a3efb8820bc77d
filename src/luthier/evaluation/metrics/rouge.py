"""ROUGE as computed by ``rouge_score`` (Lin 2004, "ROUGE: a package for automatic evaluation")."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from importlib.metadata import version
from typing import Any

from luthier.evaluation.metrics.base import SHARE, Need, TextScore
from luthier.evaluation.metrics.options import text_metric
from luthier.records.evaluation import SampleRecord

_LOST_SHARE_TO_MENTION = 0.05


class Rouge(TextScore):
    """The F-measure of one ROUGE type, between 0 and 1.

    Text is lower-cased, everything outside ``[a-z0-9]`` separates words, and words are stemmed
    (Porter, words of more than three letters) only with the option ``stem``. With several
    references the best one counts. The corpus figure is the mean. ``rougeL`` ignores newlines;
    ``rougeLsum`` treats each line as a sentence.
    """

    bounds = SHARE
    needs = frozenset[Need]({"written answers"})

    def __init__(self, kind: str, name: str, options: frozenset[str]) -> None:
        super().__init__(name)
        self._kind = kind
        self._stems = "stem" in options

    def score(self, prediction: str, references: Sequence[str], choices: Sequence[str]) -> float:
        """The F-measure against the best reference."""
        best = self._scorer.score_multi(list(references), prediction)[self._kind]
        return float(best.fmeasure)

    def described(self, references: Sequence[Sequence[str]]) -> str:
        """Type, measure, treatment of several references, stemming and version."""
        del references
        stemmer = "porter" if self._stems else "no"
        parts = (self._kind, "measure:f", "refs:best", f"stemmer:{stemmer}", "agg:mean")
        return "|".join((*parts, f"rouge_score:{version('rouge_score')}"))

    def caveats(self, samples: Sequence[SampleRecord]) -> tuple[str, ...]:
        """A caveat if ROUGE ignores a notable share of the references."""
        texts = (text for sample in samples for text in sample.references)
        lost = _lost_share("".join(texts).lower())
        if lost < _LOST_SHARE_TO_MENTION:
            return super().caveats(samples)
        return (
            f"{self.name} ignores {lost:.0%} of the letters and digits of the references: it "
            "uses only a to z and 0 to 9; chrf suits other scripts",
            *super().caveats(samples),
        )

    @cached_property
    def _scorer(self) -> Any:
        from rouge_score.rouge_scorer import RougeScorer  # imports nltk: seconds

        return RougeScorer([self._kind], use_stemmer=self._stems)


def _lost_share(text: str) -> float:
    """The share of letters and digits that ``[^a-z0-9]+`` removes."""
    visible = sum(character.isalnum() for character in text)
    lost = sum(character.isalnum() and not character.isascii() for character in text)
    return lost / visible if visible else 0.0


rouge1 = text_metric("rouge1", partial(Rouge, "rouge1"), options=("stem",))
rouge2 = text_metric("rouge2", partial(Rouge, "rouge2"), options=("stem",))
rougeL = text_metric("rougeL", partial(Rouge, "rougeL"), options=("stem",))  # noqa: N816
rougeLsum = text_metric("rougeLsum", partial(Rouge, "rougeLsum"), options=("stem",))  # noqa: N816
