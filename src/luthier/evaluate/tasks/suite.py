"""Several tasks, and the one figure that is made of theirs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from luthier.config.base import Config
from luthier.core.records import EvaluationRecord, MetricResult, SuiteRecord


class Suite(Config):
    """Tasks that are measured together.

    The score is a mean over tasks of the mean of each task's metrics: GLUE's and SuperGLUE's score
    with equal weights, MMLU's accuracy with every task counting by its size.
    """

    kind: Literal["suite"]
    name: str
    about: str = ""
    format: str = "own"
    """Whose wording and scoring the tasks follow."""
    tasks: tuple[str, ...] = Field(min_length=1)
    """What the score is made of."""
    diagnostics: tuple[str, ...] = ()
    """Tasks that are measured with the others and do not count."""
    weights: Literal["equal", "size"] = "equal"
    """How much each task counts."""
    categories: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    """Parts of the suite that have a score of their own."""
    combined: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    """Tasks that count as one, by the name of that one: both halves of MNLI."""


def score_suite(suite: Suite, records: Sequence[EvaluationRecord]) -> SuiteRecord:
    """The scores of a suite from the records of its tasks.

    Args:
        suite: the suite.
        records: of at least one of its tasks. Where others are missing, the score is of those that
            are there, and says so.
    """
    measured = {record.task: record for record in records if record.task in suite.tasks}
    return SuiteRecord(
        suite=suite.name,
        format=suite.format,
        shots=tuple(sorted({record.shots for record in measured.values()})),
        scores=combined(suite, {task: mean_metric(record) for task, record in measured.items()}),
        tasks=tuple(measured),
        missing=tuple(name for name in suite.tasks if name not in measured),
    )


def combined(suite: Suite, figures: Mapping[str, MetricResult]) -> tuple[MetricResult, ...]:
    """The figure of the whole suite, then those of its categories, from figures of its tasks.

    Args:
        suite: the suite.
        figures: a figure of each task that is there: a score, or a difference of two.
    """
    parts = [_combined(suite, suite.name, figures)]
    for category, members in suite.categories.items():
        if present := {name: figures[name] for name in members if name in figures}:
            parts.append(_combined(suite, f"{suite.name}/{category}", present))
    return tuple(parts)


def _combined(suite: Suite, name: str, means: Mapping[str, MetricResult]) -> MetricResult:
    weights = _weights(suite, means)
    total = sum(weights.values())
    shares = {task: weight / total for task, weight in weights.items()}
    value = sum(share * means[task].value for task, share in shares.items())
    return MetricResult(
        value=value,
        low=value - _reach([shares[t] * (means[t].value - means[t].low) for t in means]),
        high=value + _reach([shares[t] * (means[t].high - means[t].value) for t in means]),
        n=sum(mean.n for mean in means.values()),
        confidence=next(iter(means.values())).confidence,
        name=name,
        signature=f"mean-over-tasks|weights:{suite.weights}|tasks:{len(means)}|format:{suite.format}",
    )


def mean_metric(record: EvaluationRecord) -> MetricResult:
    """The mean of a task's metrics. Of the same answers, so their errors add up, not cancel."""
    metrics = record.metrics
    mean = {
        end: sum(getattr(metric, end) for metric in metrics) / len(metrics)
        for end in ("value", "low", "high")
    }
    return metrics[0].model_copy(update=mean)


def _weights(suite: Suite, means: Mapping[str, MetricResult]) -> dict[str, float]:
    """How much each task counts; tasks that are combined share one place."""
    if suite.weights == "size":
        return {task: float(mean.n) for task, mean in means.items()}
    sharing = {
        task: sum(member in means for member in members)
        for members in suite.combined.values()
        for task in members
    }
    return {task: 1 / sharing.get(task, 1) for task in means}


def _reach(reaches: Sequence[float]) -> float:
    """How far the interval of a sum of independent estimates goes to one side.

    The root of the sum of squares of the terms' own reaches: the method of variance estimates
    recovery (Zou and Donner 2008, "Construction of confidence limits about effect measures").
    """
    return math.sqrt(sum(reach * reach for reach in reaches))
