"""Evaluation of a predictor on a run's own data."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import luthier
from luthier.core.console import Console
from luthier.evaluation.metrics.base import Floats, Metric
from luthier.evaluation.predicting.base import Predictor
from luthier.evaluation.predicting.generation import tell_unfinished
from luthier.evaluation.statistics.bootstrap import Resampling, Units, bootstrap_interval
from luthier.evaluation.statistics.power import detectable_difference, difference_error
from luthier.evaluation.task import Evaluation, EvaluationTask
from luthier.records.evaluation import EvaluationRecord, MetricResult, ModelStamp, SampleRecord

_RECORDED_PACKAGES = ("torch", "transformers", "peft", "rouge_score", "sacrebleu")


def evaluate_task(
    predictor: Predictor,
    task: EvaluationTask,
    model: ModelStamp,
    resampling: Resampling,
    console: Console,
    *,
    adapter: str = "",
) -> Evaluation:
    """Answer all examples of ``task``, and score the answers.

    Args:
        predictor: a model with its prompts, or a baseline.
        task: the examples and the metrics.
        model: the model that answers.
        resampling: the settings of the bootstrap for intervals.
        console: shows progress with the time left, and warnings.
        adapter: the adapter on the model; empty for none.

    Raises:
        DataError: a prompt leaves no room for its answer; all such prompts are listed.
    """
    answers = predictor.predict(task.examples, console, task.name)
    for note in answers.notes:
        console.warn(note)
    unfinished = tell_unfinished(answers.samples, console)
    results, scored = judge(answers.samples, task.load_metrics(), resampling, console)
    record = EvaluationRecord(
        task=task.name,
        split=task.split,
        model=model,
        adapter=adapter,
        template=task.template,
        shots=task.shots,
        chat_template=task.chat_template,
        metrics=results,
        seconds=answers.seconds,
        generated_tokens=answers.generated_tokens,
        prompt_tokens=answers.prompt_tokens,
        truncated_outputs=answers.truncated,
        versions=recorded_versions(),
        unfinished=unfinished,
        seed=resampling.seed,
        resamples=resampling.resamples,
    )
    return Evaluation(record, scored)


def judge(
    samples: Sequence[SampleRecord],
    metrics: Sequence[Metric],
    resampling: Resampling,
    console: Console,
) -> tuple[tuple[MetricResult, ...], tuple[SampleRecord, ...]]:
    """Compute the metrics of ``samples`` from their predictions and references.

    Returns:
        The metrics with their intervals, and the samples with their scores.
    """
    results: list[MetricResult] = []
    columns: dict[str, list[float]] = {}
    for metric in metrics:
        stats = metric.measure(samples)
        results.append(_result(metric, stats, samples, resampling))
        columns[metric.name] = metric.per_sample(stats).tolist()
    for caveat in dict.fromkeys(text for metric in metrics for text in metric.caveats(samples)):
        console.warn(caveat)
    groups = {sample.group for sample in samples}
    if len(samples) > 1 and len(groups) == 1 and "" not in groups:
        console.warn(
            f"all {len(samples):,} examples belong to one group, {groups.pop()[:80]!r}: the "
            "intervals are about that group only"
        )
    rows = zip(*columns.values(), strict=True)
    scored = tuple(
        sample.model_copy(update={"scores": dict(zip(columns, row, strict=True))})
        for sample, row in zip(samples, rows, strict=True)
    )
    return tuple(results), scored


def measure(
    metric: Metric, samples: Sequence[SampleRecord], resampling: Resampling
) -> MetricResult:
    """Compute one metric of stored samples, with its interval."""
    return _result(metric, metric.measure(samples), samples, resampling)


def _result(
    metric: Metric, stats: Floats, samples: Sequence[SampleRecord], resampling: Resampling
) -> MetricResult:
    groups = [sample.group for sample in samples]
    estimate = bootstrap_interval(metric, stats, resampling, groups)
    units = len(Units.of(stats, groups))
    return MetricResult(
        **estimate.model_dump(),
        name=metric.name,
        signature=metric.signature([sample.references for sample in samples]),
        higher_is_better=metric.higher_is_better,
        detectable=detectable_difference(difference_error(estimate.standard_error or 0.0), units),
    )


def recorded_versions() -> dict[str, str]:
    """The versions of Luthier, Python and the packages that affect results."""
    versions = {"luthier": luthier.__version__, "python": platform.python_version()}
    for package in _RECORDED_PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
