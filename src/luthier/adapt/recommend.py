"""The answer in words: which rung, and why."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.core.records import Recommendation, RungRecord
from luthier.core.units import format_bytes, format_count, format_duration


def recommend(
    rungs: Sequence[RungRecord], metric_name: str, target: float | None, alpha: float
) -> Recommendation:
    """Choose a rung.

    With a target: the cheapest rung whose metric reaches it. Without one: going up, a rung replaces
    the choice so far when its gain over the best cheaper rung is real (Holm-corrected p below
    ``alpha``) and it is the better of the two.

    Args:
        rungs: in order of cost, with their gains.
        metric_name: the metric that decides.
        target: the value to reach, or None.
        alpha: the level of the tests.
    """
    done = [rung for rung in rungs if rung.status == "done" and rung.metric]
    if not done:
        return Recommendation(
            rung=None,
            sentence="No rung was measured, so there is nothing to recommend.",
            reasons=tuple(_why_not(rung) for rung in rungs),
        )
    if target is not None:
        return _cheapest_at_target(rungs, done, metric_name, target)
    choice = done[0]
    for rung in done[1:]:
        if _is_real_gain(rung, alpha) and _is_better(rung, choice):
            choice = rung
    return _last_real_gain(rungs, done, choice, metric_name, alpha)


def _cheapest_at_target(
    rungs: Sequence[RungRecord], done: Sequence[RungRecord], metric_name: str, target: float
) -> Recommendation:
    reaching = next((rung for rung in done if is_at_target(rung, target)), None)
    if reaching is None:
        best = _best(done)
        sentence = (
            f"No rung reaches the target of {target:g} in {metric_name}; the best is {best.name} "
            f"with {_value(best)}."
        )
        advice = "More or better training data, a larger model, or a lower target are what is left."
        return Recommendation(rung=None, sentence=sentence, reasons=(*_facts(rungs, best), advice))
    sentence = (
        f"Use {reaching.name}: it is the cheapest rung that reaches the target of {target:g} in "
        f"{metric_name}, with {_value(reaching)}."
    )
    reasons = list(_facts(rungs, reaching))
    assert reaching.metric is not None
    worst = reaching.metric.low if reaching.metric.higher_is_better else reaching.metric.high
    if not _meets(worst, target, higher=reaching.metric.higher_is_better):
        reasons.insert(
            0,
            f"Its interval includes values short of the target (down to {worst:.3f}): measure on "
            "more examples before you rely on it.",
        )
    return Recommendation(rung=reaching.name, sentence=sentence, reasons=tuple(reasons))


def _last_real_gain(
    rungs: Sequence[RungRecord],
    done: Sequence[RungRecord],
    choice: RungRecord,
    metric_name: str,
    alpha: float,
) -> Recommendation:
    if choice.gain:
        sentence = (
            f"Use {choice.name}: {_value(choice)} in {metric_name}, {choice.gain.difference:+.3f} "
            f"over {choice.gain.over} (95 % interval {choice.gain.low:+.3f} to "
            f"{choice.gain.high:+.3f}, p {format_p(choice.gain.p_holm)})."
        ).replace("95 %", f"{choice.metric.confidence:.0%}" if choice.metric else "95 %")
    else:
        sentence = (
            f"Use {choice.name}: {_value(choice)} in {metric_name}, and no dearer rung gains on it "
            f"at the level {alpha:g}."
        )
    dearer = done[done.index(choice) + 1 :]
    reasons = [_not_worth_it(rung, alpha) for rung in dearer]
    return Recommendation(
        rung=choice.name, sentence=sentence, reasons=(*reasons, *_facts(rungs, choice))
    )


def _not_worth_it(rung: RungRecord, alpha: float) -> str:
    gain = rung.gain
    if gain is None:
        return f"{rung.name} was not compared."
    if gain.difference <= 0:
        return (
            f"{rung.name} costs more and is no better: {gain.difference:+.3f} against {gain.over}."
        )
    return (
        f"{rung.name} gains {gain.difference:+.3f} on {gain.over}, which may be chance "
        f"(p {format_p(gain.p_holm)}, not below {alpha:g})."
    )


def _facts(rungs: Sequence[RungRecord], choice: RungRecord) -> tuple[str, ...]:
    """What the choice costs and forgets, and what was not measured."""
    facts = []
    if choice.training:
        facts.append(
            f"It trains {format_count(choice.trained_parameters)} parameters in "
            f"{format_duration(choice.train_seconds)} and makes a file of "
            f"{format_bytes(choice.artifact_bytes)}."
        )
        if choice.training.stopped == "time":
            facts.append("Its training was cut short by the time limit; more time may give more.")
    else:
        facts.append("It needs no training: the prompt does it.")
    if choice.forgetting:
        facts.append(_forgetting(choice))
    skipped = [rung for rung in rungs if rung.status != "done"]
    facts += [_why_not(rung) for rung in skipped]
    return tuple(facts)


def _forgetting(choice: RungRecord) -> str:
    forgetting = choice.forgetting
    assert forgetting is not None
    spread = f"{forgetting.low:+.3f} to {forgetting.high:+.3f}"
    if forgetting.low > 0:
        return (
            f"It forgot something: general text costs {forgetting.value:+.3f} nats per token more "
            f"({spread}). That matters if the model is also used for other work."
        )
    if forgetting.high < 0:
        return (
            f"It forgot nothing that was measured: general text costs {forgetting.value:+.3f} nats "
            f"per token ({spread})."
        )
    return f"No forgetting was found: {forgetting.value:+.3f} nats per token ({spread})."


def _why_not(rung: RungRecord) -> str:
    return f"{rung.name} was {'skipped' if rung.status == 'skipped' else 'not finished'}: {rung.reason}."


def _value(rung: RungRecord) -> str:
    assert rung.metric is not None
    metric = rung.metric
    return f"{metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}]"


def _is_real_gain(rung: RungRecord, alpha: float) -> bool:
    if rung.gain is None or rung.metric is None or rung.gain.p_holm >= alpha:
        return False
    return rung.gain.difference > 0 if rung.metric.higher_is_better else rung.gain.difference < 0


def _is_better(rung: RungRecord, other: RungRecord) -> bool:
    assert rung.metric is not None
    assert other.metric is not None
    if rung.metric.higher_is_better:
        return rung.metric.value > other.metric.value
    return rung.metric.value < other.metric.value


def _best(done: Sequence[RungRecord]) -> RungRecord:
    best = done[0]
    for rung in done[1:]:
        best = rung if _is_better(rung, best) else best
    return best


def is_at_target(rung: RungRecord, target: float | None) -> bool:
    """Whether the rung was measured and reaches the target."""
    if rung.metric is None or target is None:
        return False
    return _meets(rung.metric.value, target, higher=rung.metric.higher_is_better)


def _meets(value: float, target: float, *, higher: bool) -> bool:
    return value >= target if higher else value <= target


def format_p(p: float) -> str:
    """A p-value as ``< 0.001`` or ``= 0.034``."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
