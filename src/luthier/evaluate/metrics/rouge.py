"""ROUGE as ``rouge_score`` computes it (Lin 2004, "ROUGE: a package for automatic evaluation")."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from importlib.metadata import version
from typing import Any

from luthier.core.records import SampleRecord
from luthier.evaluate.metrics.base import Need, TextScore

_LOST_SHARE_TO_MENTION = 0.05


class Rouge(TextScore):
    """The F-measure of one ROUGE type, between 0 and 1.

    Text is lower-cased, everything outside ``[a-z0-9]`` separates words, and words are not
    stemmed. With several references a sample scores its best one. The corpus figure is the plain
    mean. ``rougeL`` ignores newlines, ``rougeLsum`` takes each line as a sentence.
    """

    needs = frozenset[Need]({"written answers"})

    def score(self, prediction: str, references: Sequence[str], choices: Sequence[str]) -> float:
        """The F-measure against the best reference."""
        best = self._scorer.score_multi(list(references), prediction)[self.name]
        return float(best.fmeasure)

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """Type, measure, treatment of several references, stemming and version."""
        del references
        parts = (self.name, "measure:f", "refs:best", "stemmer:no", "agg:mean")
        return "|".join((*parts, f"rouge_score:{version('rouge_score')}"))

    def caveats(self, samples: Sequence[SampleRecord]) -> tuple[str, ...]:
        """Warns where a notable share of the references is invisible to ROUGE."""
        texts = (text for sample in samples for text in sample.references)
        lost = _lost_share("".join(texts).lower())
        if lost < _LOST_SHARE_TO_MENTION:
            return super().caveats(samples)
        return (
            f"{self.name} does not see {lost:.0%} of the letters and digits of the references: it "
            "knows only a to z and 0 to 9; chrf suits other scripts",
            *super().caveats(samples),
        )

    @cached_property
    def _scorer(self) -> Any:
        from rouge_score.rouge_scorer import RougeScorer  # imports nltk: seconds

        return RougeScorer([self.name], use_stemmer=False)


def _lost_share(text: str) -> float:
    """The share of letters and digits that ``[^a-z0-9]+`` removes."""
    visible = sum(character.isalnum() for character in text)
    lost = sum(character.isalnum() and not character.isascii() for character in text)
    return lost / visible if visible else 0.0


rouge1 = partial(Rouge, "rouge1")
rouge2 = partial(Rouge, "rouge2")
rougeL = partial(Rouge, "rougeL")  # noqa: N816 - the metric's own name
rougeLsum = partial(Rouge, "rougeLsum")  # noqa: N816 - the metric's own name
