"""BLEU, chrF and TER as computed by ``sacrebleu``: its statistics, formula and signature.

BLEU: Papineni et al. 2002. chrF: Popović 2015; chrF++: Popović 2017. Post 2018 (arXiv 1804.08771)
explains why the signature matters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from luthier.evaluation.metrics.base import Floats, Need, TextMetric, within
from luthier.evaluation.metrics.options import MakeTextMetric, text_metric


class Scorers(NamedTuple):
    """sacrebleu's objects for a corpus and for one sentence."""

    corpus: Any
    sentence: Any


class SacrebleuMetric(TextMetric):
    """A metric of sacrebleu with its default settings, between 0 and 100.

    Args:
        name: the name for users.
        make_scorers: creates sacrebleu's objects on first use.
    """

    bounds = (0.0, 100.0)
    needs = frozenset[Need]({"written answers"})

    def __init__(self, name: str, make_scorers: Callable[[], Scorers]) -> None:
        super().__init__(name)
        self._make_scorers = make_scorers

    def statistics(
        self,
        predictions: Sequence[str],
        references: Sequence[Sequence[str]],
        choices: Sequence[Sequence[str]] = (),
    ) -> Floats:
        """The statistics of sacrebleu, ``[n, k]``.

        BLEU: lengths of hypothesis and closest reference, then matched and total n-grams of order
        1 to 4. chrF: n-grams of hypothesis, best reference and their match, for each order. TER:
        edits to the closest reference, and the mean number of words of the references.
        """
        del choices
        rows = self._scorers.corpus._extract_corpus_statistics(predictions, _streams(references))
        return np.array(rows, dtype=np.float64)

    def aggregate(self, summed: Floats, count: Floats) -> Floats:
        """The corpus score from summed statistics."""
        del count
        return within(_score_rows(self._scorers.corpus, summed), self.bounds)

    def per_sample(self, statistics: Floats) -> Floats:
        """Sentence scores. BLEU uses its effective order, or short texts would all be 0."""
        return within(_score_rows(self._scorers.sentence, statistics), self.bounds)

    def described(self, references: Sequence[Sequence[str]]) -> str:
        """The signature of sacrebleu, which includes the number of references."""
        scorer = self._make_scorers().corpus
        # A sacrebleu object learns the number of references by reading them.
        scorer._cache_references(_streams(references))
        return str(scorer.get_signature())

    @cached_property
    def _scorers(self) -> Scorers:
        return self._make_scorers()


def _streams(references: Sequence[Sequence[str]]) -> list[tuple[str | None, ...]]:
    """References by position instead of by sample; None if a sample has fewer."""
    return list(zip_longest(*references))


def _score_rows(scorer: Any, summed: Floats) -> Floats:
    """The formula of sacrebleu applied to every row of ``[..., k]``."""
    rows = summed.reshape(-1, summed.shape[-1])
    scores = [scorer._compute_score_from_stats(row.tolist()).score for row in rows]
    return np.array(scores, dtype=np.float64).reshape(summed.shape[:-1])


def _bleu_scorers() -> Scorers:
    from sacrebleu.metrics.bleu import BLEU

    return Scorers(BLEU(), BLEU(effective_order=True))


def _chrf_scorers(word_order: int) -> Scorers:
    from sacrebleu.metrics.chrf import CHRF

    scorer = CHRF(word_order=word_order)
    return Scorers(scorer, scorer)


def _ter_scorers() -> Scorers:
    from sacrebleu.metrics.ter import TER

    scorer = TER()
    return Scorers(scorer, scorer)


class Ter(SacrebleuMetric):
    """Edits relative to the words of the references, in percent; lower is better.

    Snover et al. 2006, "A study of translation edit rate with targeted human annotation".
    """

    higher_is_better = False
    bounds = (0.0, math.inf)


def _plain(make: Callable[[], Scorers]) -> MakeTextMetric:
    return lambda name, _options: SacrebleuMetric(name, make)


bleu = text_metric("bleu", _plain(_bleu_scorers))
chrf = text_metric("chrf", _plain(partial(_chrf_scorers, 0)))
chrf_plus_plus = text_metric("chrf++", _plain(partial(_chrf_scorers, 2)))
ter = text_metric("ter", lambda name, _options: Ter(name, _ter_scorers))
