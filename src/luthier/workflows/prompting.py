"""Prompting a model directly: in-context learning without evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from luthier.config import Decoding, RunConfig
from luthier.context.answer_mode import decoding_of, drawn_shots
from luthier.context.found_model import find_model
from luthier.context.prepare import prepare_evaluation
from luthier.context.run_context import RunContext
from luthier.context.run_or_model import Target
from luthier.context.run_predictor import RunPredictor, predictor_of, predictor_with
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.example import Example, Message
from luthier.evaluation.predicting.base import ModelPredictor
from luthier.evaluation.predicting.generation import Generating
from luthier.records.evaluation import SampleRecord
from luthier.records.run_directory import RunDirectory

_OWN_QUESTION_TOKENS = 256
Question = str | Mapping[str, Any] | Sequence[str]
"""A text, values by column, or texts such as ``subject=Refund``."""


def ask_model(
    config: RunConfig, console: Console, target: Target, question: Question | None, num: int
) -> tuple[SampleRecord, ...]:
    """Prompts and answers, with the references of test examples.

    Args:
        config: model, data, template and shots.
        console: shows progress.
        target: the run to ask; empty: the configured model.
        question: a question of the user's own, which a run's task renders; None: the first ``num``
            test examples.
        num: number of test examples.

    Raises:
        LuthierError: data, template or model are invalid, or a prompt is too long.
    """
    if target.run:
        return _ask_run(config, console, target.run, question, num)
    if question is not None and not isinstance(question, str):
        (question,) = _texts(question)
    return _ask_configured(config, console, question, num)


def _ask_run(
    config: RunConfig, console: Console, run: RunDirectory, question: Question | None, num: int
) -> tuple[SampleRecord, ...]:
    """The answers of a run, as its evaluation and `luthier predict` give them."""
    if question is None:
        context = prepare_evaluation(config, console)
        predictor = predictor_of(run, context, console)
        examples = tuple(map(predictor.shots.before, context.dataset.test[:num]))
    else:
        predictor = predictor_with(run, config, console)
        examples = (_asked(predictor, question),)
    model = predictor.load()(None)
    return model.predict(examples, console, "prompt").samples


def _asked(predictor: RunPredictor, question: Question) -> Example:
    """The question as the run's task renders it; a run of plain text has none."""
    if predictor.shape.has_questions:
        return predictor.question(predictor.shape.row_of(question))
    (text,) = (question,) if isinstance(question, str) else _texts(question)
    return _own(text)


def _ask_configured(
    config: RunConfig, console: Console, question: str | None, num: int
) -> tuple[SampleRecord, ...]:
    """The answers of a model without a run, which are always generated."""
    if question is not None and config.prompt.shots == 0:
        found = find_model(config.model, console)
        renderer = found.renderer(config.prompt)
        limit = config.evaluate.max_new_tokens or _OWN_QUESTION_TOKENS
        stop = config.evaluate.stop or ()
        decoding = Decoding(max_new_tokens=limit, stop=stop, strategy=config.strategy)
        examples: tuple[Example, ...] = (_own(question),)
    else:
        context = prepare_evaluation(config, console)
        renderer, found = context.renderer, context.model
        decoding = decoding_of(context, config.prompt.shots)
        examples = _examples(context, question, num)
    for example in examples:
        renderer.prompt(example, answer_tokens=decoding.max_new_tokens)  # checks it
    model = found.load(config.evaluate)
    predictor = ModelPredictor(model.engine(), renderer, Generating(decoding))
    return predictor.predict(examples, console, "prompt").samples


def _examples(context: RunContext, question: str | None, num: int) -> tuple[Example, ...]:
    dataset, shots = context.dataset, drawn_shots(context, context.config.prompt.shots)
    asked = dataset.test[:num] if question is None else (_own(question),)
    return tuple(map(shots.before, asked))


def _texts(question: Mapping[str, Any] | Sequence[str]) -> tuple[str]:
    """The only text of a question.

    Raises:
        UsageError: there are several, or values by column, which only a run's task can render.
    """
    if isinstance(question, Mapping) or len(question) != 1:
        raise UsageError(
            "a model without a run is asked a single text",
            where="--input",
            fix="give one --input, or name a run with --run, whose task has columns",
        )
    return (question[0],)


def _own(question: str) -> Example:
    return Example(id="question", messages=(Message("user", question),), references=())
