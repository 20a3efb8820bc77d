"""Scoring of whole texts by likelihood, in windows if they exceed the context window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from luthier.evaluation.asking.ask import Answers, Progress, ask, fits
from luthier.evaluation.asking.encode import TaskEncoder
from luthier.inference import Engine, Score, ScoreRequest
from luthier.records.evaluation import SampleRecord
from luthier.tasks.item import Question
from luthier.tasks.text import TextTask


@fits.register
def _(task: TextTask, question: Question, encoder: TaskEncoder[Any]) -> bool:
    """True: any text fits, because it is split into windows."""
    return True


@ask.register
def _(
    task: TextTask,
    engine: Engine,
    encoder: TaskEncoder[Any],
    questions: Sequence[Question],
    progress: Progress,
) -> Answers:
    """Score the windows of all texts in one call."""
    cut = [encoder.windows(question.document.words[0]) for question in questions]
    requests = [window for parts in cut for window in parts]
    with progress("scoring", len(requests)) as advance:
        scores = iter(engine.score(requests, advance))
    samples = tuple(
        _measured(question, parts, [next(scores) for _ in parts])
        for question, parts in zip(questions, cut, strict=True)
    )
    return Answers(samples, prompt_tokens=sum(sample.counts["tokens"] for sample in samples))


def _measured(
    question: Question, parts: Sequence[ScoreRequest[Any]], scores: Sequence[Score]
) -> SampleRecord:
    document = question.document
    tokens = sum(len(part.continuation) for part in parts)
    return document.sample(
        document.words[0],
        "",
        words=(),
        likelihoods=(sum(score.logprob for score in scores),),
        counts={**document.counts, "tokens": tokens},
    )
