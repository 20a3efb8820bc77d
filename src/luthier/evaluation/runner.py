"""Evaluation of a model on a run's own data, by generated answers."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import luthier
from luthier.core.console import Console
from luthier.core.errors import DataError, ProblemList
from luthier.core.example import Example
from luthier.evaluation.answering import Reply, as_one_of, drawings, replies, tell_unfinished
from luthier.evaluation.metrics.base import Floats, Metric
from luthier.evaluation.statistics.bootstrap import Resampling, Units, bootstrap_interval
from luthier.evaluation.statistics.power import detectable_difference, difference_error
from luthier.evaluation.task import Evaluation, EvaluationTask
from luthier.inference import Engine
from luthier.prompts.prompt import Prompt, known_tokens
from luthier.prompts.reasoning import answer_only
from luthier.prompts.renderer import Renderer
from luthier.records.evaluation import EvaluationRecord, MetricResult, ModelStamp, SampleRecord

_RECORDED_PACKAGES = ("torch", "transformers", "peft", "rouge_score", "sacrebleu")


def evaluate_task(
    engine: Engine,
    renderer: Renderer,
    task: EvaluationTask,
    model: ModelStamp,
    resampling: Resampling,
    console: Console,
    *,
    adapter: str = "",
) -> Evaluation:
    """Generate the answers to all examples of ``task``, and score them.

    Args:
        engine: the engine that generates.
        renderer: renders prompts with the task's template.
        task: the examples, the metrics and the decoding settings.
        model: the model that the engine runs.
        resampling: the settings of the bootstrap for intervals.
        console: shows progress with the time left, and warnings.
        adapter: the adapter on the model; empty for none.

    Raises:
        DataError: a prompt leaves no room for its answer; all such prompts are listed.
    """
    prompts = render_prompts(renderer, task)
    started, before = time.monotonic(), engine.usage
    with console.progress(f"{task.name}: answering", len(prompts) * task.samples) as advance:
        drawn = [
            replies(engine, prompts, decoding, renderer.reader, advance)
            for decoding in drawings(task.decoding, task.samples)
        ]
    answers = [reply for drawing in drawn for reply in drawing]
    seconds, usage = time.monotonic() - started, engine.usage.since(before)
    truncated = sum(answer.finish == "length" for answer in answers)
    if truncated:
        console.warn(
            f"{truncated} of {len(answers)} answers were cut at "
            f"{task.decoding.max_new_tokens} tokens"
        )
    samples = [
        _sample(example, prompt, reply, number if task.samples > 1 else 0)
        for example, prompt, *replied in zip(task.examples, prompts, *drawn, strict=True)
        for number, reply in enumerate(replied, start=1)
    ]
    unfinished = tell_unfinished(samples, console)
    results, scored = judge(samples, task.load_metrics(), resampling, console)
    record = EvaluationRecord(
        task=task.name,
        split=task.split,
        model=model,
        adapter=adapter,
        template=task.template,
        shots=task.shots,
        chat_template=task.chat_template,
        metrics=results,
        seconds=seconds + usage.seconds,
        generated_tokens=sum(answer.tokens for answer in answers) + usage.generated_tokens,
        prompt_tokens=sum(known_tokens(p.content) for p in prompts) + usage.prompt_tokens,
        truncated_outputs=truncated,
        versions=recorded_versions(),
        unfinished=unfinished,
        seed=resampling.seed,
        resamples=resampling.resamples,
    )
    return Evaluation(record, scored)


def render_prompts(renderer: Renderer, task: EvaluationTask) -> list[Prompt]:
    """The prompt of every example.

    Rendering needs no model, so it can also check a task in advance.

    Raises:
        DataError: a prompt leaves no room for its answer; all such prompts are listed.
    """
    prompts: list[Prompt] = []
    problems = ProblemList()
    for example in task.examples:
        try:
            prompts.append(renderer.prompt(example, answer_tokens=task.decoding.max_new_tokens))
        except DataError as problem:
            problems.add(problem)
    problems.raise_if_any()
    return prompts


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


def _sample(example: Example, prompt: Prompt, reply: Reply, number: int) -> SampleRecord:
    """The record of a reply; ``number`` is 0 if its question has only one reply."""
    alone = {"id": example.id, "group": example.group}
    return SampleRecord(
        **(as_one_of(example.id, example.group, number) if number else alone),
        prompt=prompt.text,
        prediction=reply.answer,
        references=tuple(map(answer_only, example.references)),
        choices=example.choices,
        scores={},
        finish=reply.finish,
        generated=reply.generated,
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
