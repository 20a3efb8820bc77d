"""The answer mode of a run: generation, or choice among given answers by likelihood."""

from __future__ import annotations

from dataclasses import dataclass
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
from luthier.tasks.task import Task

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


@dataclass(frozen=True, slots=True)
class Shots:
    """The few-shot examples before each question.

    Attributes:
        examples: the examples, in order.
        stop: the stop strings for prompts with them.
    """

    examples: tuple[Example, ...] = ()
    stop: tuple[str, ...] = ()

    def before(self, example: Example) -> Example:
        """A question with the few-shot examples before it."""
        return with_shots(example, self.examples)


def drawn_shots(context: RunContext, count: int) -> Shots:
    """``count`` few-shot examples drawn from the training examples.

    Raises:
        DataError: there are too few training examples to draw from.
    """
    train = context.dataset.train
    shown = choose_shots(train, count, context.config.seed)
    return Shots(shown, context.renderer.stop_strings(train) if count else ())


def answer_mode(context: RunContext, shots: int) -> AnswerMode:
    """The way that a model answers with ``shots`` few-shot examples before each question.

    Choices are generated where a model's server gives no log-probabilities.
    """
    return mode_of(context, drawn_shots(context, shots))


def mode_of(context: RunContext, shots: Shots) -> AnswerMode:
    """The way that a model answers after few-shot examples; see `answer_mode`."""
    return Answering.of(context).mode(shots)


@dataclass(frozen=True, slots=True)
class Answering:
    """The settings that decide how a model answers.

    Attributes:
        config: the settings of the evaluation.
        task: the task.
        chooses: whether answers are chosen by likelihood.
        max_new_tokens: the maximum length of a generated answer.
    """

    config: RunConfig
    task: Task
    chooses: bool
    max_new_tokens: int

    @classmethod
    def of(cls, context: RunContext) -> Answering:
        """The settings of a context with its data."""
        task = context.dataset.template
        return cls(context.config, task, context.chooses, longest_answer(context))

    def mode(self, shots: Shots) -> AnswerMode:
        """The way that a model answers after few-shot examples."""
        if not self.chooses:
            return Generating(self.decoding(shots), self.config.evaluate.samples)
        if not self.config.evaluate.calibrate:
            return MultipleChoice()
        return MultipleChoice(shots.before(self.task.empty_example()))

    def decoding(self, shots: Shots) -> Decoding:
        """The decoding settings of generated answers after few-shot examples."""
        stop = self.config.evaluate.stop
        return Decoding(
            max_new_tokens=self.max_new_tokens,
            stop=shots.stop if stop is None else stop,
            strategy=self.config.strategy,
        )


def decoding_of(context: RunContext, shots: int) -> Decoding:
    """The decoding settings for prompts with ``shots`` few-shot examples."""
    return Answering.of(context).decoding(drawn_shots(context, shots))
