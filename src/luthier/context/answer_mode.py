"""The answer mode of a run: generation, or choice among given answers by likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING

from luthier.config import Decoding, RunConfig
from luthier.context.answer_length import longest_answer
from luthier.core.errors import UsageError
from luthier.core.example import Example
from luthier.data.dataset import Dataset
from luthier.evaluation.predicting.base import AnswerMode
from luthier.evaluation.predicting.generation import Generating
from luthier.evaluation.predicting.multiple_choice import MultipleChoice
from luthier.evaluation.settings import require_reach
from luthier.prompts.shots import choose_shots, with_shots

if TYPE_CHECKING:
    from luthier.context.run_context import RunContext


def wants_choices(config: RunConfig, dataset: Dataset) -> bool:
    """Whether answers are to be chosen by likelihood: all test examples have choices.

    Raises:
        UsageError: a setting of generated answers has no effect on chosen ones.
    """
    closed = all(example.choices for example in dataset.test)
    if not closed or config.evaluate.choices == "generation":
        if config.evaluate.calibrate:
            raise UsageError(
                "evaluate.calibrate has no effect on generated answers",
                where="evaluate.calibrate",
                fix="leave it out; it applies to choices that are scored by likelihood",
            )
        return False
    require_reach(config.evaluate, "choices")
    return True


def answer_mode(context: RunContext, shots: int) -> AnswerMode:
    """The way that a model answers with ``shots`` few-shot examples before each question.

    Choices are generated where a model's server gives no log-probabilities.
    """
    if not context.chooses:
        return Generating(decoding_of(context, shots), context.config.evaluate.samples)
    if not context.config.evaluate.calibrate:
        return MultipleChoice()
    return MultipleChoice(_empty_question(context, shots))


def decoding_of(context: RunContext, shots: int) -> Decoding:
    """The decoding settings for prompts with ``shots`` few-shot examples."""
    limit = longest_answer(context)
    stop = context.config.evaluate.stop
    if stop is None:
        stop = context.renderer.stop_strings(context.dataset.train) if shots else ()
    return Decoding(max_new_tokens=limit, stop=stop, strategy=context.config.strategy)


def _empty_question(context: RunContext, shots: int) -> Example:
    """The task's question without content, after the same few-shot examples.

    Raises:
        DataError: the task cannot be rendered without content.
    """
    shown = choose_shots(context.dataset.train, shots, context.config.seed)
    return with_shots(context.dataset.template.empty_example(), shown)
