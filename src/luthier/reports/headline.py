"""The result of a run in one sentence: in counts where there are some, without statistics."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from luthier.core.method_facts import FACTS
from luthier.core.units import counted
from luthier.records.evaluation import MetricResult
from luthier.records.ladder import LadderRecord, RungRecord
from luthier.reports.format import format_value
from luthier.reports.metric_words import right_count, words_of

EXAMPLES = "examples"
_LAST_WORD = re.compile(r"(?:^|[^A-Za-z])([A-Za-z]{5,20})$")
_NO_PLURALS = ("ss", "us", "is", "ics")
_MOST_DIGITS = 4


class _Way(NamedTuple):
    """A rung in words: as advice, and in a comparison."""

    advice: str
    beside: str


_PROMPTING = {
    "zero-shot": _Way("Ask without examples", "without examples"),
    "one-shot": _Way("Put one example in the prompt", "with one example in the prompt"),
    "few-shot": _Way("Put examples in the prompt", "with examples in the prompt"),
}
_BASELINES = {
    "majority": _Way("always the most frequent answer", "with the most frequent answer"),
    "linear": _Way("a linear classifier", "with a linear classifier"),
    "nearest": _Way(
        "the answer of the most similar training example",
        "with the answer of the most similar training example",
    ),
    "lead": _Way("the first sentence", "with the first sentence"),
}


class _Measured(NamedTuple):
    """A rung with its value of the deciding metric."""

    rung: RungRecord
    metric: MetricResult

    @property
    def way(self) -> _Way:
        name = self.rung.name
        return _PROMPTING.get(name) or _BASELINES.get(name) or _tuned(name)


def ladder_headline(ladder: LadderRecord) -> str:
    """The recommendation of a ladder in one sentence, or the reason why there is none.

    The recommended rung is compared with the best-measured prompting and the best baseline below
    it; a recommended baseline is compared with the best-measured language model, and the most
    frequent answer with the best rung of all.
    """
    measured = [_Measured(rung, rung.metric) for rung in ladder.rungs if rung.metric]
    noun = noun_of(ladder.task)
    chosen = next((m for m in measured if m.rung.name == ladder.recommendation.rung), None)
    if chosen is None:
        return _without_choice(ladder, measured, noun)
    if chosen.rung.is_baseline:
        return _baseline_headline(ladder, measured, chosen, noun)
    below = measured[: measured.index(chosen)]
    return f"{chosen.way.advice}: {_compared(chosen, _best_below(below), noun)}"


def noun_of(task: str) -> str:
    """The noun for the examples of a task: the last word of its name if it is a plural."""
    word = _LAST_WORD.search(task)
    noun = word[1].lower() if word else ""
    return noun if noun.endswith("s") and not noun.endswith(_NO_PLURALS) else EXAMPLES


def result_words(result: MetricResult, noun: str) -> str:
    """A result without statistics: ``66 of 100 tickets right``, or ``ROUGE-L 0.28``."""
    return _result(result, noun, _digits([result.value]))


def _baseline_headline(
    ladder: LadderRecord, measured: Sequence[_Measured], chosen: _Measured, noun: str
) -> str:
    models = [m for m in measured if not m.rung.is_baseline]
    if chosen.rung.name == "majority" and ladder.target is None:
        others = [m for m in measured if m is not chosen]
        result = _against_best(chosen, others, noun)
        tried = "rung" if len(measured) == len(ladder.rungs) else "rung that was tried"
        return f"No {tried} is shown to beat the most frequent answer: {result}"
    result = _against_best(chosen, models, noun)
    way = chosen.way.advice
    if not models:
        return f"{way[0].upper()}{way[1:]}: {result}. No language model was measured"
    return f"You do not need a language model: {way} {_verb(chosen.metric)} {result}"


def _without_choice(ladder: LadderRecord, measured: Sequence[_Measured], noun: str) -> str:
    if not measured:
        return "No rung was measured, so there is nothing to recommend"
    if all(m.rung.unusable for m in measured):
        return "No rung can be recommended: none gives answers that can be used"
    best = _best(measured)
    reached = f"{best.rung.name}, {_verb(best.metric)} {result_words(best.metric, noun)}"
    if ladder.target is not None:
        wanted = f"{words_of(ladder.metric).title} {ladder.target:g}"
        return f"No rung reaches the target of {wanted}: the best, {reached}"
    return f"No rung can be recommended: the test examples show no difference. The best, {reached}"


def _best_below(below: Sequence[_Measured]) -> list[_Measured]:
    """The best prompting and the best baseline among cheaper rungs."""
    groups = (
        [m for m in below if m.rung.name in _PROMPTING],
        [m for m in below if m.rung.is_baseline],
    )
    return [_best(group) for group in groups if group]


def _compared(chosen: _Measured, others: Sequence[_Measured], noun: str) -> str:
    digits = _digits([m.metric.value for m in (chosen, *others)])
    result = _result(chosen.metric, noun, digits)
    against = " and ".join(f"{_number(m.metric, digits)} {m.way.beside}" for m in others)
    return f"{result}, against {against}" if against else result


def _against_best(chosen: _Measured, others: Sequence[_Measured], noun: str) -> str:
    """The result beside the best of others, which no test shows to be better."""
    best = [_best(others)] if others else []
    compared = _compared(chosen, best, noun)
    is_better = best and _best([chosen, *best]) is not chosen
    return f"{compared}, which chance may explain" if is_better else compared


def _result(result: MetricResult, noun: str, digits: int) -> str:
    right = right_count(result)
    if right is None:
        return f"{words_of(result.name).title} {_number(result, digits)}"
    return f"{right:,} of {counted(result.n, noun.removesuffix('s'))} right"


def _number(result: MetricResult, digits: int) -> str:
    right = right_count(result)
    return format_value(result.value, digits=digits) if right is None else f"{right:,}"


def _verb(result: MetricResult) -> str:
    return "reaches" if right_count(result) is None else "gets"


def _digits(values: Sequence[float]) -> int:
    """The fewest decimals that tell different values apart, at least two, or one from 10 on."""
    least = 1 if max(map(abs, values)) >= 10 else 2
    for digits in range(least, _MOST_DIGITS):
        if len({format_value(value, digits=digits) for value in values}) == len(set(values)):
            return digits
    return _MOST_DIGITS


def _best(measured: Sequence[_Measured]) -> _Measured:
    """The best-measured rung, the cheaper one of equals."""
    sign = 1 if measured[0].metric.higher_is_better else -1
    return max(measured, key=lambda m: sign * m.metric.value)


def _tuned(name: str) -> _Way:
    """A tuning method in words, such as ``Tune with LoRA``."""
    facts = FACTS.get(name)
    title = " ".join(_lowered(facts.title)) if facts else name
    advice = f"Use {title}" if "tuning" in title.lower() else f"Tune with {title}"
    return _Way(advice, f"with {title}")


def _lowered(title: str) -> Iterator[str]:
    """The words of a title as inside a sentence; names such as BitFit keep their capitals."""
    for word in title.split():
        yield word.lower() if word[1:].islower() else word
