"""The recommendation in words: which rung, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from luthier.core.units import counted, format_bytes, format_count, format_duration
from luthier.evaluation.statistics.power import (
    can_show_nothing,
    power_notes,
    shows_only_large_gains,
    too_few_units,
)
from luthier.ladder.cautions import contamination_warnings, cut_answers, untried_rungs
from luthier.records.comparison import Comparison
from luthier.records.contamination import Contamination
from luthier.records.evaluation import MetricResult
from luthier.records.forgetting import Forgetting
from luthier.records.ladder import Recommendation, RungRecord

_NONE_USABLE = "No rung can be recommended: none gives answers that can be used."
_COARSE = 0.1
"""The least detectable difference above which a warning stands at the top. It is a tenth of the
range of most metrics."""


class _Measured(NamedTuple):
    """A rung that was measured."""

    rung: RungRecord
    metric: MetricResult

    def is_better_than(self, other: _Measured) -> bool:
        return self._is_higher(self.metric.value - other.metric.value)

    def has_real_gain(self, alpha: float) -> bool:
        gain = self.rung.gain
        return gain is not None and gain.p_adjusted <= alpha and self._is_higher(gain.difference)

    def _is_higher(self, difference: float) -> bool:
        return difference > 0 if self.metric.higher_is_better else difference < 0

    def __str__(self) -> str:
        if self.metric.no_interval:
            return f"{self.metric.value:.3f} (no interval: {self.metric.no_interval})"
        return f"{self.metric.value:.3f} [{self.metric.low:.3f}, {self.metric.high:.3f}]"


def recommend(
    rungs: Sequence[RungRecord],
    target: float | None,
    alpha: float,
    contamination: Contamination | None = None,
) -> Recommendation:
    """The recommendation of a rung.

    With a target: the cheapest rung whose metric reaches it. Without one: the final choice of
    `luthier.evaluation.comparison.choice`, based on the gains of the rungs. Rungs with unusable
    answers are never recommended, and none is where the test examples could not show a gain.

    Args:
        rungs: in order of cost, with their gains.
        target: the value to reach, or None.
        alpha: the level of the tests.
        contamination: the test examples that the training data contains, if they were looked for.
    """
    measured = [_Measured(rung, rung.metric) for rung in rungs if rung.metric]
    warnings = (*cut_answers(rungs), *_few_examples(measured, alpha))
    missing = [rung for rung in rungs if not rung.metric]
    others = tuple(_why_not(rung) for rung in missing)
    if not measured:
        sentence = "No rung was measured, so there is nothing to recommend."
        overlap = contamination_warnings(contamination, rungs, None)
        return Recommendation(rung=None, sentence=sentence, reasons=others, warnings=overlap)
    if target is not None:
        name, sentence, reasons = _cheapest_at_target(measured, target)
    elif units := _too_few_units(measured, alpha):
        name, sentence, reasons = _not_testable(measured, units, alpha)
    else:
        name, sentence, reasons = _final_choice(measured, alpha)
    overlap = contamination_warnings(contamination, rungs, name)
    open_question = target is None or name is None
    return Recommendation(
        rung=name,
        sentence=sentence,
        reasons=(*reasons, *_below_majority(measured), *(() if open_question else others)),
        warnings=(*(untried_rungs(missing) if open_question else ()), *overlap, *warnings),
    )


def is_at_target(rung: RungRecord, target: float | None) -> bool:
    """Whether a rung was measured, reaches the target, and gives answers that can be used."""
    if rung.metric is None or target is None or rung.unusable:
        return False
    return _reaches(rung.metric.value, rung.metric, target)


def _cheapest_at_target(
    measured: Sequence[_Measured], target: float
) -> tuple[str | None, str, list[str]]:
    name = measured[0].metric.name
    left_out = [_left_out(m) for m in measured if m.rung.unusable]
    usable = [m for m in measured if not m.rung.unusable]
    if not usable:
        return None, _NONE_USABLE, left_out
    reaching = next((m for m in usable if is_at_target(m.rung, target)), None)
    if reaching is None:
        best = _best(usable)
        sentence = (
            f"No rung reaches the target of {target:g} in {name}; the best is {best.rung.name} "
            f"with {best}."
        )
        advice = "Options: more or better training data, a larger model, a lower target."
        return None, sentence, [*_facts(best.rung), *left_out, advice]
    sentence = (
        f"Use {reaching.rung.name}: it is the cheapest rung that reaches the target of {target:g} "
        f"in {name}, with {reaching}."
    )
    reasons = [*_facts(reaching.rung), *left_out]
    worst = reaching.metric.low if reaching.metric.higher_is_better else reaching.metric.high
    if reaching.metric.no_interval:
        caveat = "No interval can be given: measure on more examples before you rely on it."
        reasons = [caveat, *reasons]
    elif not _reaches(worst, reaching.metric, target):
        caveat = (
            f"Its interval includes {worst:.3f}, short of the target: measure on more examples "
            "before you rely on it."
        )
        reasons = [caveat, *reasons]
    return reaching.rung.name, sentence, reasons


def _too_few_units(measured: Sequence[_Measured], alpha: float) -> int:
    """The number of units if it is too small for any significant difference; otherwise 0."""
    units = next((m.rung.gain.units for m in measured if m.rung.gain), None)
    return units if units and can_show_nothing(units, alpha) else 0


def _not_testable(
    measured: Sequence[_Measured], units: int, alpha: float
) -> tuple[str | None, str, list[str]]:
    best, first = _best(measured), measured[0]
    sentence = (
        f"No rung can be recommended on evidence: {too_few_units(units, alpha)} "
        f"The best-measured rung is {best.rung.name} with {best} in {best.metric.name}; the "
        f"cheapest is {first.rung.name} with {first}."
    )
    return None, sentence, _caution(best)


def _final_choice(measured: Sequence[_Measured], alpha: float) -> tuple[str | None, str, list[str]]:
    choice = _choice(measured, alpha)
    place = measured.index(choice)
    cheaper, dearer = measured[:place], measured[place + 1 :]
    if choice.rung.unusable:
        return None, _NONE_USABLE, [_left_out(m) for m in measured]
    parts = [_use(choice)]
    if choice.rung.is_baseline:
        parts.append(_without_model(choice, alpha))
    left_out = [m for m in cheaper if m.rung.unusable]
    if left_out and len(left_out) == len(cheaper):
        parts.append("It is the cheapest rung whose answers can be used.")
    usable = [m for m in dearer if not m.rung.unusable]
    if usable:
        which = "dearer rung" if len(usable) == len(dearer) else "dearer rung with usable answers"
        parts.append(
            f"No {which} gives a clear gain (α = {alpha:g}, all pairs of rungs tested together)."
        )
    elif dearer:
        parts.append("No dearer rung gives answers that can be used.")
    best = _best([m for m in measured if not m.rung.unusable])
    if best is not choice:
        parts.append(_best_in_words(best, choice))
    reasons = _sides(choice, alpha) + [_left_out(m) for m in left_out]
    reasons += [_not_shown(m, alpha) for m in dearer]
    if usable and (power := _power(usable[-1])):
        reasons.append(power)
    return choice.rung.name, " ".join(parts), [*reasons, *_facts(choice.rung)]


def _without_model(choice: _Measured, alpha: float) -> str:
    """The meaning of the choice of a baseline."""
    if choice.has_real_gain(alpha):
        return "You do not need a language model here."
    return "No language model is shown to beat it on these examples."


def _choice(measured: Sequence[_Measured], alpha: float) -> _Measured:
    """The rung chosen by the gains; an unusable one only if no rung is usable."""
    choice = measured[0]
    for dearer in measured[1:]:
        if dearer.rung.unusable:
            continue
        if choice.rung.unusable or dearer.has_real_gain(alpha):
            choice = dearer
    return choice


def _left_out(rung: _Measured) -> str:
    return f"{rung.rung.name} is left out, whatever it scored ({rung}): {rung.rung.unusable}."


def _caution(named: _Measured) -> list[str]:
    """A warning if the rung named in the sentence has unusable answers."""
    rung = named.rung
    return [f"Read the answers of {rung.name} first: {rung.unusable}."] if rung.unusable else []


def _sides(choice: _Measured, alpha: float) -> list[str]:
    """The reason why the interval of the gain contains 0 although its p-value shows a gain."""
    gain = choice.rung.gain
    if gain is None or not choice.has_real_gain(alpha):
        return []
    if gain.no_interval or not gain.low <= 0 <= gain.high:
        return []
    return [
        f"The interval of its gain contains 0 although p is at most {alpha:g}: the test is "
        f"one-sided, for a gain only, the interval two-sided at {choice.metric.confidence:.0%}."
    ]


def _use(choice: _Measured) -> str:
    text = f"Use {choice.rung.name}: {choice} in {choice.metric.name}"
    if gain := choice.rung.gain:
        text += (
            f", {_difference(gain, choice.metric.confidence)} over {gain.baseline}, "
            f"p {_p(gain.p_adjusted)} for a gain"
        )
    return f"{text}."


def _best_in_words(best: _Measured, choice: _Measured) -> str:
    gain = best.rung.gain
    if gain and gain.baseline == choice.rung.name:
        apart = _difference(gain, choice.metric.confidence)
    else:
        apart = _signed(best.metric.value - choice.metric.value)
    return f"The best-measured rung, {best.rung.name}, differs from it by {apart}."


def _difference(gain: Comparison, confidence: float) -> str:
    if gain.no_interval:
        return f"{_signed(gain.difference)} (no interval: {gain.no_interval})"
    spread = f"{confidence:.0%} interval {_signed(gain.low)} to {_signed(gain.high)}"
    return f"{_signed(gain.difference)} ({spread})"


def _not_shown(dearer: _Measured, alpha: float) -> str:
    rung, gain = dearer.rung, dearer.rung.gain
    if gain is None:
        return f"{rung.name} was not compared."
    apart = f"{_difference(gain, dearer.metric.confidence)} against {gain.baseline}"
    if rung.unusable:
        return f"{rung.name} is left out, whatever it scored ({apart}): {rung.unusable}."
    if gain.difference and not dearer._is_higher(gain.difference):
        return f"{rung.name} costs more and scored worse: {apart}."
    p = _p(gain.p_adjusted, alpha)
    shown = f"No clear gain of {rung.name}: {apart}, p {p}, above {alpha:g}."
    if gain.no_interval or gain.low <= 0 <= gain.high:
        return shown
    return f"{shown} The interval is of this pair only, while p is corrected for all pairs."


def _power(dearer: _Measured) -> str:
    """The least detectable difference, unless it is a warning already."""
    gain = dearer.rung.gain
    fine = gain is not None and gain.detectable is not None and gain.detectable < _COARSE
    return _detectable(gain) if gain and fine else ""


def _detectable(gain: Comparison) -> str:
    groups = f" in {gain.units} groups" if gain.units and gain.units < gain.n else ""
    return (
        f"With {counted(gain.n, 'example')}{groups} you can detect differences of "
        f"{gain.detectable:.3f} or more between two rungs tested by themselves (80 % power, "
        "α = 0.05)."
    )


def _coarse(gain: Comparison) -> str:
    """The least detectable difference, and the way to a smaller one: the square root of n."""
    many = "groups" if gain.units and gain.units < gain.n else "examples"
    return f"{_detectable(gain)} Four times as many {many} would halve that."


def _facts(choice: RungRecord) -> list[str]:
    """The cost and forgetting of the choice."""
    if choice.is_baseline:
        return [f"It was learned in {format_duration(choice.train_seconds)}."]
    if choice.training is None:
        return ["It needs no training, only the prompt."]
    facts = [
        f"It trains {format_count(choice.trained_parameters)} parameters in "
        f"{format_duration(choice.train_seconds)} and makes a file of "
        f"{format_bytes(choice.artifact_bytes)}."
    ]
    if choice.training.stopped == "time":
        facts.append("Its training was cut short by the time limit; more time may give more.")
    if choice.training.stopped == "forgetting":
        facts.append(
            "Its training was stopped when forgetting exceeded "
            "train.guards.max_forgetting; data.replay may allow more training."
        )
    if choice.forgetting:
        facts.append(_forgetting(choice.forgetting))
    return facts


def _forgetting(forgetting: Forgetting) -> str:
    change = f"{_signed(forgetting.value)} nats per token"
    if forgetting.no_interval:
        return (
            f"Forgetting cannot be assessed: the loss on general text changed by "
            f"{change}, with no interval ({forgetting.no_interval})."
        )
    spread = f"{_signed(forgetting.low)} to {_signed(forgetting.high)}"
    if forgetting.low > 0:
        return (
            f"It forgot general text: the loss rose by {change} ({spread}). That "
            "matters if the model is also used for other work."
        )
    if forgetting.high < 0:
        return f"Nothing was forgotten: the loss on general text fell, {change} ({spread})."
    return f"No forgetting was found: {change} ({spread})."


def _why_not(rung: RungRecord) -> str:
    what = "was skipped" if rung.status == "skipped" else "failed"
    return f"{rung.name} {what}: {rung.reason}."


def _best(measured: Sequence[_Measured]) -> _Measured:
    best = measured[0]
    for candidate in measured[1:]:
        best = candidate if candidate.is_better_than(best) else best
    return best


def _reaches(value: float, metric: MetricResult, target: float) -> bool:
    return value >= target if metric.higher_is_better else value <= target


def _signed(value: float) -> str:
    """A difference with its sign, with a typographic minus."""
    return f"{value:+.3f}".replace("-", "−")


def _p(p: float, above: float = 0.0) -> str:
    """A p-value as ``< 0.001`` or ``= 0.034``; with more digits if it barely exceeds ``above``."""
    if above and (p < 0.001 or float(f"{p:.3f}") <= above):
        return f"= {p:.6g}"
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _below_majority(measured: Sequence[_Measured]) -> list[str]:
    """The reason why an untuned model does worse than the most frequent choice."""
    majority = next((m for m in measured if m.rung.name == "majority"), None)
    asked = [m for m in measured if not (m.rung.is_baseline or m.rung.training)]
    if majority is None:
        return []
    return [
        f"{m.rung.name} does worse than always giving the most frequent answer: "
        f"{m.rung.one_sided or 'it takes one choice for another'}. evaluate.calibrate=true removes "
        "a model's preference for some choices."
        for m in asked
        if majority.is_better_than(m)
    ]


def _few_examples(measured: Sequence[_Measured], alpha: float) -> list[str]:
    """A warning if the test examples can show only large differences, or none."""
    gains = [m.rung.gain for m in measured if m.rung.gain]
    if not gains:
        return []
    last = gains[-1]
    if last.detectable is not None:
        return [_coarse(last)] if last.detectable >= _COARSE else []
    if last.units and shows_only_large_gains(last.units, alpha):
        return list(power_notes(last.n, last.units, alpha))
    return []
