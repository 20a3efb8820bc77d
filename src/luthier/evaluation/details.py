"""Details of an evaluation beside its metrics: results by class, reliability, and abstention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from luthier.core.console import Console
from luthier.evaluation.abstention import abstention
from luthier.evaluation.class_report import class_report
from luthier.evaluation.reliability import reliability
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.evaluation.task import Evaluation
from luthier.records.classes import Abstention, ClassReport, Reliability
from luthier.records.evaluation import EvaluationRecord, SampleRecord


class Details(TypedDict):
    """The fields of an `EvaluationRecord` that hold its details."""

    by_class: ClassReport | None
    reliability: Reliability | None
    abstention: Abstention | None


def details(
    samples: Sequence[SampleRecord], resampling: Resampling, threshold: float | None
) -> Details:
    """The details that follow from ``samples``.

    Args:
        samples: at least one.
        resampling: the settings of the intervals.
        threshold: the least confidence of an answer that is given; None: no abstention.
    """
    trusted = reliability(samples, resampling)
    return Details(
        by_class=class_report(samples, resampling),
        reliability=trusted,
        abstention=None
        if threshold is None or trusted is None
        else abstention(samples, threshold, resampling),
    )


def with_details(
    evaluation: Evaluation, resampling: Resampling, threshold: float | None, console: Console
) -> Evaluation:
    """The evaluation with its details; see `details`. Warns if the threshold has no effect."""
    found = details(evaluation.samples, resampling, threshold)
    if threshold is not None and not found["reliability"]:
        console.warn(
            f"evaluate.abstain has no effect on {evaluation.record.task}: its answers have no "
            "probabilities, because they were not chosen by likelihood"
        )
    record: EvaluationRecord = evaluation.record.model_copy(update=dict(found))
    return Evaluation(record, evaluation.samples)
