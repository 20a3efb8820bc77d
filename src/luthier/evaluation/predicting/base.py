"""The contract of predictors, and of the ways a model answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.example import Example
from luthier.inference import Engine
from luthier.prompts.batched import prompts_of
from luthier.prompts.render import PromptRenderer
from luthier.prompts.renderer import Renderer
from luthier.records.evaluation import SampleRecord
from luthier.tasks.needs import Need


@dataclass(frozen=True, slots=True)
class Predictions:
    """The answers to examples, in the order of the examples, and their cost.

    Attributes:
        samples: the sample records, without scores. Several answers to one question are adjacent.
        seconds: the time that the answers took, that of cached ones included.
        prompt_tokens: the number of tokens in all prompts.
        generated_tokens: the number of generated tokens.
        truncated: the number of answers that were cut at the token limit.
        notes: warnings about the answers, one sentence each.
    """

    samples: tuple[SampleRecord, ...]
    seconds: float = 0.0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    truncated: int = 0
    notes: tuple[str, ...] = ()


class Predictor(ABC):
    """Answers examples; a model with its prompts, or a baseline without a model."""

    @abstractmethod
    def predict(self, examples: Sequence[Example], console: Console, name: str) -> Predictions:
        """Answer all examples, whose references are not used.

        Args:
            examples: the questions; they may lack references.
            console: shows progress.
            name: the name of the data, for progress.

        Raises:
            DataError: an example cannot be answered; all such examples are listed.
        """

    def refusals(self, examples: Sequence[Example]) -> list[DataError | None]:
        """The reason why each example cannot be answered; None where it can.

        Args:
            examples: the questions; they may lack references.
        """
        return [None] * len(examples)


class AnswerMode(ABC):
    """A way for a model to answer: by generation, or by choosing among given answers."""

    @property
    @abstractmethod
    def gives(self) -> frozenset[Need]:
        """The properties of the samples, which metrics may need."""

    @property
    def num_answers(self) -> int:
        """The number of answers to each question."""
        return 1

    @abstractmethod
    def answer_tokens(self, renderer: Renderer, examples: Sequence[Example]) -> int:
        """The room to reserve for an answer after each prompt, in tokens."""

    @property
    @abstractmethod
    def generated_tokens(self) -> int:
        """The tokens generated for an example, at most; 0 if none are."""

    @abstractmethod
    def token_sequences(
        self, renderer: PromptRenderer, examples: Sequence[Example]
    ) -> list[tuple[int, ...]]:
        """The tokens that the model reads: prompts, and the answers that are scored after them.

        Raises:
            DataError: a prompt leaves no room for its answer; all such prompts are listed.
        """

    @abstractmethod
    def answer(
        self,
        engine: Engine,
        renderer: Renderer,
        examples: Sequence[Example],
        console: Console,
        name: str,
    ) -> Predictions:
        """The model's answers to examples.

        Args:
            engine: the engine that runs the model.
            renderer: renders prompts, and reads answers.
            examples: the questions, with their few-shot examples as earlier turns.
            console: shows progress.
            name: the name of the data, for progress.

        Raises:
            DataError: a prompt leaves no room for its answer; all such prompts are listed.
        """


@dataclass(frozen=True, slots=True)
class ModelPredictor(Predictor):
    """A model that answers in one mode.

    Attributes:
        engine: the engine that runs the model.
        renderer: renders prompts, and reads answers.
        mode: generation or multiple choice.
    """

    engine: Engine
    renderer: Renderer
    mode: AnswerMode

    def predict(self, examples: Sequence[Example], console: Console, name: str) -> Predictions:
        """See `Predictor.predict`."""
        return self.mode.answer(self.engine, self.renderer, examples, console, name)

    def refusals(self, examples: Sequence[Example]) -> list[DataError | None]:
        """See `Predictor.refusals`: prompts that cannot be written, or leave no room."""
        found = self._refusals(examples, 0)
        # The room for answers can be known only of questions that can be written.
        fine = [example for example, why in zip(examples, found, strict=True) if why is None]
        room = self.mode.answer_tokens(self.renderer, fine)
        long = iter(self._refusals(fine, room))
        return [next(long) if why is None else why for why in found]

    def _refusals(self, examples: Sequence[Example], room: int) -> list[DataError | None]:
        prompts = prompts_of(self.renderer, examples, answer_tokens=room)
        return [prompt if isinstance(prompt, DataError) else None for _, prompt in prompts]
