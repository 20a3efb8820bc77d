"""Evaluation of a model on a benchmark task."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from luthier.core.console import Console
from luthier.core.seeds import fingerprint
from luthier.evaluation.asking.ask import Answers, ask
from luthier.evaluation.asking.checked import metrics_of
from luthier.evaluation.asking.encode import TaskEncoder
from luthier.evaluation.asking.prepared import PreparedTask
from luthier.evaluation.predicting.generation import tell_unfinished
from luthier.evaluation.runner import judge, recorded_versions
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.evaluation.task import Evaluation
from luthier.inference import Engine
from luthier.records.evaluation import EvaluationRecord, ModelStamp, SampleRecord, TemplateStamp


def evaluate_benchmark(
    engine: Engine,
    encoder: TaskEncoder[Any],
    prepared: PreparedTask,
    model: ModelStamp,
    resampling: Resampling,
    console: Console,
    *,
    adapter: str = "",
) -> Evaluation:
    """Evaluate a model on a task.

    Args:
        engine: scores and generates. It receives all requests in one call, so that it can share
            the prefixes of prompts.
        encoder: turns contexts and answers into tokens of the model.
        prepared: the task with its documents and few-shot examples.
        model: the model that the engine runs.
        resampling: the settings of the bootstrap for intervals.
        console: shows progress with the time left, and warnings.
        adapter: the adapter on the model; empty for none.

    Raises:
        DataError: a question does not fit into the model's context window.
    """
    task = prepared.task
    started, before = time.monotonic(), engine.usage
    answers = _answers(engine, encoder, prepared, console)
    seconds, usage = time.monotonic() - started, engine.usage.since(before)
    unfinished = tell_unfinished(answers.samples, console)
    results, scored = judge(answers.samples, metrics_of(task), resampling, console)
    record = EvaluationRecord(
        cut_prompts=answers.cut_prompts,
        drawn=prepared.drawn,
        other_shots=prepared.other_shots,
        fewer_shots=answers.fewer_shots,
        unfinished=unfinished,
        task=task.name,
        split=prepared.split,
        model=model,
        adapter=adapter,
        template=_asked_as(task.stamp, encoder),
        shots=len(prepared.shots),
        chat_template=encoder.uses_chat_template,
        metrics=results,
        seconds=seconds + usage.seconds,
        generated_tokens=answers.generated_tokens + usage.generated_tokens,
        prompt_tokens=answers.prompt_tokens + usage.prompt_tokens,
        truncated_outputs=answers.cut_answers,
        versions=recorded_versions(),
        seed=resampling.seed,
        resamples=resampling.resamples,
        format=task.format,
        version=str(task.version),
        labels=dict(task.label_words),
    )
    return Evaluation(record, scored)


def _asked_as(template: TemplateStamp, encoder: TaskEncoder[Any]) -> TemplateStamp:
    """The stamp of a task's prompts; it differs between chat turns and plain text.

    Answers to turns and to plain text must not be compared with each other.
    """
    if not encoder.writes_turns:
        return template
    return template.model_copy(update={"hash": fingerprint(template.hash, "chat template")})


def predict_benchmark(
    engine: Engine, encoder: TaskEncoder[Any], prepared: PreparedTask, console: Console
) -> tuple[SampleRecord, ...]:
    """A model's answers to a task whose right answers are not known.

    Raises:
        DataError: a question does not fit into the model's context window.
    """
    answers = _answers(engine, encoder, prepared, console)
    tell_unfinished(answers.samples, console)
    return answers.samples


def _answers(
    engine: Engine, encoder: TaskEncoder[Any], prepared: PreparedTask, console: Console
) -> Answers:
    task = prepared.task
    questions, fewer = prepared.questions(encoder)
    answers = ask(
        task,
        engine,
        encoder,
        questions,
        lambda what, total: console.progress(f"{task.name}: {what}", total),
    )
    for count, what in (
        (
            prepared.other_shots,
            "questions are worked examples themselves; they are shown the next ones instead",
        ),
        (fewer, "questions have fewer shots, because they would not fit"),
        (answers.cut_prompts, "prompts lost their beginning, because they would not fit"),
    ):
        if count:
            console.warn(f"{task.name}: {count:,} of {len(questions):,} {what}")
    if answers.cut_answers:
        console.warn(
            f"{task.name}: {answers.cut_answers:,} of {len(answers.samples):,} answers were cut "
            "before they ended"
        )
    return replace(answers, fewer_shots=fewer)
