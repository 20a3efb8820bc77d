"""Results as pandas DataFrames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from luthier.core.errors import UsageError
from luthier.core.files import read_lines
from luthier.core.probability import softmax
from luthier.planning.training_plan import Plan
from luthier.records.base import Record
from luthier.records.comparison import Comparison, RunComparison
from luthier.records.evaluation import EvaluationRecord, MetricResult, SampleRecord
from luthier.records.ladder import LadderRecord, RungRecord
from luthier.records.run_directory import RunDirectory

if TYPE_CHECKING:
    from pandas import DataFrame

_Row = dict[str, Any]


def rungs_frame(ladder: LadderRecord) -> DataFrame:
    """A row for each rung. ``p`` is one-sided, for a gain, and corrected for all pairs."""
    return _frame(_rung_row(rung, ladder) for rung in ladder.rungs)


def samples_frame(samples: Iterable[SampleRecord]) -> DataFrame:
    """A row for each answer, with a column for each metric and for each choice's probability."""
    return _frame(_sample_row(sample) for sample in samples)


def metrics_frame(evaluations: Iterable[EvaluationRecord]) -> DataFrame:
    """A row for each metric of each evaluation."""
    return _frame(
        {
            "task": record.task,
            "split": record.split,
            "model": record.model.id,
            "adapter": record.adapter,
            "shots": record.shots,
            "metric": metric.name,
            **_estimate(metric),
            "signature": metric.signature,
        }
        for record in evaluations
        for metric in record.metrics
    )


def comparisons_frame(comparison: RunComparison) -> DataFrame:
    """A row for each suite or task and run except the first, with the difference from the first."""
    names = comparison.names
    suites = (
        {"task": each.suite, "metric": "score"} | row
        for each in comparison.suites
        for row in _compared(names, each.results, each.comparisons)
    )
    tasks = (
        {"task": each.task, "metric": each.metric} | row | {"better": better, "worse": worse}
        for each in comparison.tasks
        for row, better, worse in zip(
            _compared(names, each.results, each.comparisons), each.better, each.worse, strict=True
        )
    )
    return _frame([*suites, *tasks])


def steps_frame(run: RunDirectory) -> DataFrame:
    """A row for each step of a training; a resumed training repeats none."""
    rows = {line["step"]: line for line in read_lines(run.metrics)}
    return _frame(rows[step] for step in sorted(rows))


def plans_frame(model: str, plans: Sequence[Plan]) -> DataFrame:
    """A row for each plan."""
    return _frame(_plan_row(model, plan) for plan in plans)


def records_frame(records: Iterable[Record]) -> DataFrame:
    """A row for each record."""
    return _frame(record.model_dump() for record in records)


def _frame(rows: Iterable[_Row]) -> DataFrame:
    try:
        import pandas
    except ImportError:
        raise UsageError(
            "a DataFrame needs pandas, which is not installed",
            fix="install it: pip install 'luthier[notebook]'",
        ) from None
    return pandas.DataFrame(list(rows))


def _estimate(metric: MetricResult | None) -> _Row:
    if metric is None:
        return dict.fromkeys(("value", "low", "high", "standard_error", "n"))
    return metric.model_dump(include={"value", "low", "high", "standard_error", "n"})


def _rung_row(rung: RungRecord, ladder: LadderRecord) -> _Row:
    gain, forgetting = rung.gain, rung.forgetting
    return {
        "rung": rung.name,
        "status": rung.status,
        "recommended": rung.name == ladder.recommendation.rung,
        "metric": ladder.metric,
        **_estimate(rung.metric),
        "compared_with": gain.baseline if gain else None,
        "gain": gain.difference if gain else None,
        "gain_low": gain.low if gain else None,
        "gain_high": gain.high if gain else None,
        "p": gain.p_adjusted if gain else None,
        "forgetting": forgetting.value if forgetting else None,
        "trained_parameters": rung.trained_parameters,
        "artifact_bytes": rung.artifact_bytes,
        "peak_memory_bytes": rung.peak_memory_bytes,
        "train_seconds": rung.train_seconds,
        "evaluate_seconds": rung.evaluate_seconds,
        "seconds": rung.train_seconds + rung.evaluate_seconds,
        "truncated": rung.truncated,
        "reason": rung.reason or rung.unusable,
    }


def _sample_row(sample: SampleRecord) -> _Row:
    row: _Row = sample.model_dump(
        include={"id", "group", "prompt", "prediction", "references", "finish"}
    )
    row |= sample.scores
    if sample.likelihoods and len(sample.likelihoods) == len(sample.choices):
        shares = softmax(sample.likelihoods)
        row |= {f"p({choice})": share for choice, share in zip(sample.choices, shares, strict=True)}
    return row


def _compared(
    names: Sequence[str], results: Sequence[MetricResult], comparisons: Sequence[Comparison]
) -> Iterator[_Row]:
    """A row for each run except the first."""
    for name, result, apart in zip(names[1:], results[1:], comparisons, strict=True):
        yield {
            "baseline": names[0],
            "baseline_value": results[0].value,
            "run": name,
            "value": result.value,
            "difference": apart.difference,
            "low": apart.low,
            "high": apart.high,
            "p": apart.p_adjusted,
            "n": apart.n,
        }


def _plan_row(model: str, plan: Plan) -> _Row:
    return {
        "model": model,
        "method": plan.method_in_words,
        "precision": plan.precision_in_words,
        "optimizer": plan.optimizer,
        "parallel": plan.parallel,
        "checkpointing": plan.checkpointing,
        "batch": plan.batch,
        "accumulation": plan.accumulation,
        "devices": plan.devices,
        "device": plan.device,
        "verdict": plan.verdict,
        "tune_can_run": plan.tune.can,
        "memory_bytes": plan.memory.total,
        "limit_bytes": plan.limit,
        "trained_parameters": plan.trained_parameters,
        "artifact_bytes": plan.artifact_bytes,
        "tokens_per_second": plan.step.tokens_per_second,
        "mfu": plan.step.mfu,
        "tokens": plan.tokens,
        "seconds": plan.cost.seconds,
        "device_hours": plan.cost.device_hours,
        "cost": plan.cost.money,
    }
