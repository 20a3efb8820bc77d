"""Table rows as text, shared by all output formats."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from luthier.core.units import counted
from luthier.records.comparison import Comparison
from luthier.records.evaluation import EvaluationRecord, MetricResult
from luthier.records.forgetting import Forgetting
from luthier.records.ladder import LadderRecord, RungRecord
from luthier.reports.format import (
    ABSENT,
    bytes_or_absent,
    digits_of,
    duration_or_absent,
    format_estimate,
    format_interval,
    format_p,
    format_value,
    parameters_or_absent,
)


@dataclass(frozen=True, slots=True)
class LadderRow:
    """A rung as text cells.

    Attributes:
        baseline: the cheaper rung of the comparison.
        is_real: whether the gain is significant at the ladder's level, after correction.
        reason: why the rung was skipped or failed; empty if done.
        remark: what a reader must know about its answers; empty if nothing.
    """

    name: str
    recommended: bool
    status: str
    reason: str
    remark: str
    metric: str
    interval: str
    gain: str
    gain_interval: str
    p: str
    baseline: str
    is_real: bool
    forgetting: str
    forgetting_interval: str
    trained: str
    artifact: str
    memory: str
    train_time: str
    evaluate_time: str
    time: str

    @property
    def is_done(self) -> bool:
        """Whether the rung was measured."""
        return self.status == "done"


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric of one system on one task."""

    system: str
    task: str
    split: str
    template: str
    shots: str
    metric: str
    value: str
    interval: str
    error: str
    n: str
    signature: str


def ladder_rows(ladder: LadderRecord) -> tuple[LadderRow, ...]:
    """A row for each rung, in the ladder's order."""
    return tuple(_ladder_row(rung, ladder) for rung in ladder.rungs)


def metric_rows(system: str, records: Iterable[EvaluationRecord]) -> list[MetricRow]:
    """A row for each metric of each record, including those on clean examples only."""
    return [
        _metric_row(system, record, metric, name)
        for record in records
        for metric, name in (
            *((metric, metric.name) for metric in record.metrics),
            *((metric, f"{metric.name} (clean)") for metric in record.clean),
        )
    ]


def gain_texts(gain: Comparison | None, digits: int = 3) -> tuple[str, str]:
    """A difference and its corrected p-value."""
    if gain is None:
        return ABSENT, ""
    return format_value(gain.difference, digits=digits, signed=True), format_p(gain.p_adjusted)


def estimate_texts(
    estimate: MetricResult | Forgetting | None, *, signed: bool = False
) -> tuple[str, str]:
    """A value and its interval."""
    if estimate is None:
        return ABSENT, ""
    digits = digits_of(estimate)
    return format_estimate(estimate, signed=signed), format_interval(estimate, digits=digits)


def detectable_text(n: int, metric: str, least: float, beside: str = "") -> str:
    """The smallest detectable difference at this size, in words."""
    shown = format_value(least, digits=2 if least >= 10 else 3)
    which = f"{shown} or more in {metric}{f' {beside}' if beside else ''}"
    return (
        f"With {counted(n, 'example')} you can detect differences of {which} "
        "(80 % power, α = 0.05)."
    )


def gains_note(ladder: LadderRecord) -> str:
    """The meaning of gains, their intervals and p-values in the table of a ladder."""
    note = (
        "A gain is over the choice among the cheaper rungs. p is one-sided, for a gain, and "
        f"corrected for all pairs of rungs; a gain counts as real at p ≤ {ladder.alpha:g}."
    )
    if any(_interval_differs(rung, ladder.alpha) for rung in ladder.rungs):
        note += (
            " The interval of a gain is two-sided and of this pair only, so it may exclude 0 where "
            "p is above this level, or include 0 where p is below."
        )
    return note


def _ladder_row(rung: RungRecord, ladder: LadderRecord) -> LadderRow:
    metric, interval = estimate_texts(rung.metric)
    gain, p = gain_texts(rung.gain, digits_of(rung.metric) if rung.metric else 3)
    forgetting, forgetting_interval = estimate_texts(rung.forgetting, signed=True)
    return LadderRow(
        name=rung.name,
        recommended=rung.name == ladder.recommendation.rung,
        status=rung.status,
        reason=rung.reason,
        remark=_remark(rung),
        metric=metric,
        interval=interval,
        gain=gain,
        gain_interval=_gain_interval(rung),
        p=p,
        baseline=rung.gain.baseline if rung.gain else "",
        is_real=_is_real(rung, ladder.alpha),
        forgetting=forgetting,
        forgetting_interval=forgetting_interval,
        trained=parameters_or_absent(rung.trained_parameters),
        artifact=bytes_or_absent(rung.artifact_bytes),
        memory=bytes_or_absent(rung.peak_memory_bytes),
        train_time=duration_or_absent(rung.train_seconds),
        evaluate_time=duration_or_absent(rung.evaluate_seconds),
        time=duration_or_absent(rung.train_seconds + rung.evaluate_seconds),
    )


def _remark(rung: RungRecord) -> str:
    """The reason why its answers are unusable, or the nature of a baseline."""
    if rung.unusable:
        return f"unusable: {rung.unusable}"
    return "needs no language model" if rung.is_baseline else ""


def _gain_interval(rung: RungRecord) -> str:
    if rung.gain is None or rung.metric is None:
        return ""
    return format_interval(rung.gain, digits=digits_of(rung.metric), signed=True)


def _is_real(rung: RungRecord, alpha: float) -> bool:
    if rung.gain is None or rung.metric is None or rung.gain.p_adjusted > alpha:
        return False
    return (rung.gain.difference > 0) == rung.metric.higher_is_better


def _interval_differs(rung: RungRecord, alpha: float) -> bool:
    """Whether the interval of a gain shows one and its p-value does not, or the reverse."""
    gain, metric = rung.gain, rung.metric
    if gain is None or metric is None or gain.no_interval:
        return False
    shown = gain.low > 0 if metric.higher_is_better else gain.high < 0
    return shown != _is_real(rung, alpha)


def _error_text(metric: MetricResult) -> str:
    if metric.standard_error is None:
        return ABSENT
    return format_value(metric.standard_error, digits=digits_of(metric))


def _metric_row(
    system: str, record: EvaluationRecord, metric: MetricResult, name: str
) -> MetricRow:
    value, interval = estimate_texts(metric)
    return MetricRow(
        system=system,
        task=record.task,
        split=record.split,
        template=record.template.id,
        shots=str(record.shots),
        metric=name,
        value=value,
        interval=interval,
        error=_error_text(metric),
        n=f"{metric.n:,}",
        signature=metric.signature,
    )
