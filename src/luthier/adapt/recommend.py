"""The answer in words: which rung, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from luthier.core.records import Forgetting, MetricResult, Recommendation, RungRecord
from luthier.core.units import format_bytes, format_count, format_duration


class _Measured(NamedTuple):
    """A rung that was measured."""

    rung: RungRecord
    metric: MetricResult

    def is_better_than(self, other: _Measured) -> bool:
        if self.metric.higher_is_better:
            return self.metric.value > other.metric.value
        return self.metric.value < other.metric.value

    def has_real_gain(self, alpha: float) -> bool:
        gain = self.rung.gain
        if gain is None or gain.p_holm >= alpha:
            return False
        return (gain.difference > 0) == self.metric.higher_is_better

    def __str__(self) -> str:
        return f"{self.metric.value:.3f} [{self.metric.low:.3f}, {self.metric.high:.3f}]"


def recommend(rungs: Sequence[RungRecord], target: float | None, alpha: float) -> Recommendation:
    """Choose a rung.

    With a target: the cheapest rung whose metric reaches it. Without one: going up, a rung replaces
    the choice so far when its gain over the best cheaper rung is real (Holm-corrected p below
    ``alpha``) and it is the better of the two.

    Args:
        rungs: in order of cost, with their gains.
        target: the value to reach, or None.
        alpha: the level of the tests.
    """
    measured = [_Measured(rung, rung.metric) for rung in rungs if rung.metric]
    others = tuple(_why_not(rung) for rung in rungs if not rung.metric)
    if not measured:
        sentence = "No rung was measured, so there is nothing to recommend."
        return Recommendation(rung=None, sentence=sentence, reasons=others)
    if target is None:
        name, sentence, reasons = _last_real_gain(measured, alpha)
    else:
        name, sentence, reasons = _cheapest_at_target(measured, target)
    return Recommendation(rung=name, sentence=sentence, reasons=(*reasons, *others))


def is_at_target(metric: MetricResult | None, target: float | None) -> bool:
    """Whether a metric was measured and reaches the target."""
    return metric is not None and target is not None and _reaches(metric.value, metric, target)


def _cheapest_at_target(
    measured: Sequence[_Measured], target: float
) -> tuple[str | None, str, list[str]]:
    name = measured[0].metric.name
    reaching = next((m for m in measured if is_at_target(m.metric, target)), None)
    if reaching is None:
        best = _best(measured)
        sentence = (
            f"No rung reaches the target of {target:g} in {name}; the best is {best.rung.name} "
            f"with {best}."
        )
        advice = "What is left: more or better training data, a larger model, a lower target."
        return None, sentence, [*_facts(best.rung), advice]
    sentence = (
        f"Use {reaching.rung.name}: it is the cheapest rung that reaches the target of {target:g} "
        f"in {name}, with {reaching}."
    )
    reasons = _facts(reaching.rung)
    worst = reaching.metric.low if reaching.metric.higher_is_better else reaching.metric.high
    if not _reaches(worst, reaching.metric, target):
        caveat = (
            f"Its interval includes {worst:.3f}, short of the target: measure on more examples "
            "before you rely on it."
        )
        reasons = [caveat, *reasons]
    return reaching.rung.name, sentence, reasons


def _last_real_gain(
    measured: Sequence[_Measured], alpha: float
) -> tuple[str | None, str, list[str]]:
    choice = measured[0]
    for candidate in measured[1:]:
        if candidate.has_real_gain(alpha) and candidate.is_better_than(choice):
            choice = candidate
    name, metric = choice.rung.name, choice.metric
    dearer = [m.rung for m in measured[measured.index(choice) + 1 :]]
    if gain := choice.rung.gain:
        sentence = (
            f"Use {name}: {choice} in {metric.name}, {_signed(gain.difference)} over {gain.over} "
            f"({metric.confidence:.0%} interval {_signed(gain.low)} to {_signed(gain.high)}, "
            f"p {_p(gain.p_holm)})."
        )
    else:
        less = f", and no dearer rung gains on it at the level {alpha:g}" if dearer else ""
        sentence = f"Use {name}: {choice} in {metric.name}{less}."
    return name, sentence, [*(_not_worth_it(rung, alpha) for rung in dearer), *_facts(choice.rung)]


def _not_worth_it(rung: RungRecord, alpha: float) -> str:
    gain = rung.gain
    if gain is None:
        return f"{rung.name} was not compared."
    if gain.p_holm < alpha:
        return (
            f"{rung.name} costs more and is worse: {_signed(gain.difference)} against {gain.over} "
            f"(p {_p(gain.p_holm)})."
        )
    return (
        f"{rung.name} differs by {_signed(gain.difference)} from {gain.over}, which may be chance "
        f"(p {_p(gain.p_holm)}, not below {alpha:g})."
    )


def _facts(choice: RungRecord) -> list[str]:
    """What the choice costs and forgets."""
    if choice.training is None:
        return ["It needs no training: the prompt does it."]
    facts = [
        f"It trains {format_count(choice.trained_parameters)} parameters in "
        f"{format_duration(choice.train_seconds)} and makes a file of "
        f"{format_bytes(choice.artifact_bytes)}."
    ]
    if choice.training.stopped == "time":
        facts.append("Its training was cut short by the time limit; more time may give more.")
    if choice.training.stopped == "forgetting":
        facts.append(
            "Its training ended where more would have been forgotten than "
            "train.guards.max_forgetting allows; data.replay may let it go on."
        )
    if choice.forgetting:
        facts.append(_forgetting(choice.forgetting))
    return facts


def _forgetting(forgetting: Forgetting) -> str:
    change = f"{_signed(forgetting.value)} nats per token"
    spread = f"{_signed(forgetting.low)} to {_signed(forgetting.high)}"
    if forgetting.low > 0:
        return (
            f"It forgot something: the loss on general text rose by {change} ({spread}). That "
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
    """A difference with its sign, the minus as printed elsewhere."""
    return f"{value:+.3f}".replace("-", "−")


def _p(p: float) -> str:
    """A p-value as ``< 0.001`` or ``= 0.034``."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
