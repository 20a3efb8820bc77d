"""Likelihood scoring of answers: the requests of a question, and the answer from their scores."""

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
    """Score the requests of all questions in one call, so that prefixes are shared."""
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
    """The scoring requests of a question, one for each of its words.

    In a chat turn the words are scored without the delimiter, as in the multiple-choice tasks of
    lm-evaluation-harness, unless the task sets ``delimits_turns``.
    """
    begins = encoder.writes_turns and not task.delimits_turns
    before = "" if begins else task.delimiter
    return encoder.pairs(question.context, [before + text for text in question.document.words])


@requests.register
def _(task: ContextTask, question: Question, encoder: TaskEncoder[Any]) -> list[ScoreRequest[Any]]:
    """One request for the continuation after each context; such tasks take no chat turns."""
    document, before = question.document, text_of(question.context)
    return [
        request
        for context, words in zip(document.contexts, document.words, strict=True)
        for request in encoder.pairs(before + context, [task.delimiter + words])
    ]


@singledispatch
def judged(task: LikelihoodTask, question: Question, scores: Sequence[Score]) -> SampleRecord:
    """The sample record of a question with the likeliest choice as the answer.

    The first of equally likely choices is the answer.
    """
    logprobs = tuple(score.logprob for score in scores)
    prediction = question.document.choices[logprobs.index(max(logprobs))]
    return question.document.sample(question.prompt, prediction, likelihoods=logprobs)


@judged.register
def _(task: RatingTask, question: Question, scores: Sequence[Score]) -> SampleRecord:
    """The expected value of the steps, weighted by their normalised likelihoods."""
    best = max(score.logprob for score in scores)
    weights = [math.exp(score.logprob - best) for score in scores]
    steps = [step_of(step) for step in task.scale]
    mean = sum(w * s for w, s in zip(weights, steps, strict=True)) / sum(weights)
    return question.document.sample(
        question.prompt, f"{mean:.6g}", likelihoods=tuple(s.logprob for s in scores)
    )


@judged.register
def _(task: ClozeTask, question: Question, scores: Sequence[Score]) -> SampleRecord:
    """The text's end as the answer if greedy decoding gives it, else an empty answer."""
    (score,) = scores
    prediction = question.document.words[0] if score.greedy else ""
    return question.document.sample(question.prompt, prediction, likelihoods=(score.logprob,))
