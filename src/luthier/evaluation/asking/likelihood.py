"""Likelihoods of answers: their requests, and what they say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import singledispatch
from typing import Any

from luthier.evaluation.asking.ask import Answers, Progress, ask, fits
from luthier.evaluation.asking.encode import TaskEncoder, text_of
from luthier.inference import Engine, Score, ScoreRequest
from luthier.prompts.prompt import known_tokens
from luthier.records.evaluation import SampleRecord
from luthier.tasks.candidates import ContextTask
from luthier.tasks.item import Question
from luthier.tasks.likelihood import ClozeTask, LikelihoodTask, RatingTask, step_of


@fits.register
def _(task: LikelihoodTask, question: Question, encoder: TaskEncoder[Any]) -> bool:
    return all(encoder.fits(request) for request in requests(task, question, encoder))


@ask.register
def _(
    task: LikelihoodTask,
    engine: Engine,
    encoder: TaskEncoder[Any],
    questions: Sequence[Question],
    progress: Progress,
) -> Answers:
    """All requests of all questions are one call."""
    whole: list[list[ScoreRequest[Any]]] = []
    with progress("encoding", len(questions)) as advance:
        for question in questions:
            whole.append(requests(task, question, encoder))
            advance()
    asked = [
        [encoder.cut(request, question.document.where) for request in wanted]
        for question, wanted in zip(questions, whole, strict=True)
    ]
    flat = [request for wanted in asked for request in wanted]
    with progress("scoring", len(flat)) as advance:
        scores = iter(engine.score(flat, advance))
    samples = tuple(
        judged(task, question, [next(scores) for _ in question.document.words])
        for question in questions
    )
    return Answers(
        samples=samples,
        prompt_tokens=sum(known_tokens(wanted[0].context) for wanted in asked),
        cut_prompts=sum(a != b for a, b in zip(asked, whole, strict=True)),
    )


@singledispatch
def requests(
    task: LikelihoodTask, question: Question, encoder: TaskEncoder[Any]
) -> list[ScoreRequest[Any]]:
    """One request for each of a question's words.

    A turn of a conversation begins with the words themselves: as in lm-evaluation-harness, whose
    tasks of multiple choice leave the delimiter out there.
    """
    begins = encoder.writes_turns and not task.delimits_turns
    before = "" if begins else task.delimiter
    return encoder.pairs(question.context, [before + text for text in question.document.words])


@requests.register
def _(task: ContextTask, question: Question, encoder: TaskEncoder[Any]) -> list[ScoreRequest[Any]]:
    """The continuation after each context; its questions are no turns."""
    document, before = question.document, text_of(question.context)
    return [
        request
        for context, words in zip(document.contexts, document.words, strict=True)
        for request in encoder.pairs(before + context, [task.delimiter + words])
    ]


@singledispatch
def judged(task: LikelihoodTask, question: Question, scores: Sequence[Score]) -> SampleRecord:
    """The answer that the likelihoods of a question's words give: the likeliest choice.

    Of equally likely ones it is the first.
    """
    logprobs = tuple(score.logprob for score in scores)
    prediction = question.document.choices[logprobs.index(max(logprobs))]
    return question.document.sample(question.prompt, prediction, likelihoods=logprobs)


@judged.register
def _(task: RatingTask, question: Question, scores: Sequence[Score]) -> SampleRecord:
    """The expected step."""
    best = max(score.logprob for score in scores)
    weights = [math.exp(score.logprob - best) for score in scores]
    steps = [step_of(step) for step in task.scale]
    mean = sum(w * s for w, s in zip(weights, steps, strict=True)) / sum(weights)
    return question.document.sample(
        question.prompt, f"{mean:.6g}", likelihoods=tuple(s.logprob for s in scores)
    )


@judged.register
def _(task: ClozeTask, question: Question, scores: Sequence[Score]) -> SampleRecord:
    """The end where greedy decoding gives it, otherwise nothing."""
    (score,) = scores
    prediction = question.document.words[0] if score.greedy else ""
    return question.document.sample(question.prompt, prediction, likelihoods=(score.logprob,))
