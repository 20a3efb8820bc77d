"""Win rates from two verdicts per pair, one in each order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from luthier.evaluation.judge.template import Place
from luthier.evaluation.metrics.base import Floats, MeanMetric
from luthier.records.evaluation import ModelStamp, SampleRecord, TemplateStamp

WIN, LOSS, TIE = "win", "loss", "tie"
_CREDIT = {WIN: 1.0, TIE: 0.5, LOSS: 0.0}
# The meaning of a verdict for the candidate in second and in first place.
_SECOND: dict[Place, str] = {"first": LOSS, "second": WIN, "tie": TIE}
_FIRST: dict[Place, str] = {"first": WIN, "second": LOSS, "tie": TIE}


class WinRate(MeanMetric):
    """The share of pairs that the candidate wins; ties count a half.

    A judge has a position bias, mostly towards the first answer. So each pair is asked in both
    orders, and won or lost only if both verdicts agree (Zheng et al. 2023, "Judging LLM-as-a-judge
    with MT-bench and Chatbot Arena", arXiv 2306.05685, sections 3.3 and 3.4).

    Args:
        judge: the judge model.
        template: the judge's prompt template.
    """

    def __init__(self, judge: ModelStamp, template: TemplateStamp) -> None:
        super().__init__("win_rate")
        self._judge = f"{judge.id}@{judge.endpoint}" if judge.endpoint else judge.id
        self._template = template

    def measure(self, samples: Sequence[SampleRecord]) -> Floats:
        """1 for a win, 0.5 for a tie, 0 for a loss: ``[n, 1]``, over judged pairs."""
        return np.array([[_CREDIT[sample.extracted["outcome"]]] for sample in samples])

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The judge and its template."""
        del references
        template = self._template
        return f"win_rate|judge:{self._judge}|template:{template.id}@{template.hash}|swap:both"


def tally(judged: Sequence[SampleRecord]) -> dict[str, int]:
    """The counts of won, lost and other pairs, by the names of `Judgement`.

    Raises:
        KeyError: a pair was not judged.
    """
    outcomes = Counter(pair.extracted["outcome"] for pair in judged)
    agreement = Counter(pair.extracted["agree"] for pair in judged)
    return {
        "wins": outcomes[WIN],
        "losses": outcomes[LOSS],
        "ties": outcomes[TIE],
        "equal": agreement["equal"],
        "inconsistent": agreement["no"],
        "unread": agreement["unread"],
    }


def outcome_of(as_second: Place | None, as_first: Place | None) -> dict[str, str]:
    """The outcome of two verdicts for the candidate.

    Args:
        as_second: the verdict with the candidate in second place; None: unreadable.
        as_first: the verdict with it in first place.

    Returns:
        ``outcome``, and whether the verdicts ``agree``: ``yes``, ``no``, or ``unread``.
    """
    if as_second is None or as_first is None:
        return {"outcome": TIE, "agree": "unread"}
    one, other = _SECOND[as_second], _FIRST[as_first]
    return {"outcome": one if one == other else TIE, "agree": "yes" if one == other else "no"}
