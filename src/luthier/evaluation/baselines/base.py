"""The contract of baselines."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

from pydantic import Field

from luthier.core.console import Console
from luthier.core.example import Example
from luthier.core.seeds import fingerprint
from luthier.evaluation.predicting.base import Predictions, Predictor
from luthier.prompts.reasoning import answer_only
from luthier.records.base import Record
from luthier.records.evaluation import ModelStamp, SampleRecord
from luthier.records.run_directory import BASELINE_FILE

_LEAST_PROBABILITY = 1e-9
"""The probability of a choice that a baseline never saw, so that logarithms stay finite."""


class Frame(Record):
    """The text that all prompts of a task share around the content of their rows.

    Attributes:
        before: the text before.
        after: the text after.
    """

    before: str = ""
    after: str = ""

    @classmethod
    def of(cls, texts: Sequence[str]) -> Frame:
        """The longest text before, and after, that all of at least two different texts share.

        The shared text ends, or begins, at white space, so that no word is cut.
        """
        if len(set(texts)) < 2:
            return cls()
        before = _whole_words(_shared_start(texts))
        rest = [text[len(before) :][::-1] for text in texts]
        after = _whole_words(_shared_start(rest))[::-1]
        return cls(before=before, after=after)

    def content(self, text: str) -> str:
        """A prompt without the frame, as far as the prompt has it.

        Training rows may share words by chance, which are then taken for a part of the frame.
        """
        text = text[len(_whole_words(_shared_start([text, self.before]))) :]
        backwards = _whole_words(_shared_start([text[::-1], self.after[::-1]]))
        return text[: len(text) - len(backwards)].strip()


class Baseline(Predictor, Record):
    """A predictor that needs no language model; it is stored as JSON beside its arrays.

    Attributes:
        frame: the text that all prompts share.
    """

    needs_choices: ClassVar[bool] = False
    """Whether all examples must have the same choices."""

    frame: Frame = Field(default_factory=Frame)

    @classmethod
    @abstractmethod
    def fit(cls, train: Sequence[Example]) -> Self:
        """The baseline learned from training examples, at least one.

        Raises:
            DataError: the examples do not suffice.
        """

    @abstractmethod
    def answers(self, texts: Sequence[str], examples: Sequence[Example]) -> list[BaselineAnswer]:
        """The answer to each example.

        Args:
            texts: the questions, without the frame.
            examples: the examples.
        """

    def save(self, folder: Path) -> None:
        """Store the baseline in a folder."""
        self.write(folder / BASELINE_FILE)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The baseline stored in a folder, possibly by somebody else.

        Raises:
            DataError: it is missing or damaged.
        """
        return cls.read(folder / BASELINE_FILE)

    @property
    @abstractmethod
    def num_parameters(self) -> int:
        """The number of learned values."""

    def stamp(self, name: str) -> ModelStamp:
        """The baseline's name and version, as records store them."""
        return ModelStamp(
            id=name,
            revision=fingerprint(self.model_dump_json()),
            parameters=self.num_parameters,
            dtype="float64",
            architecture=type(self).__name__,
        )

    def predict(self, examples: Sequence[Example], console: Console, name: str) -> Predictions:
        """See `Predictor.predict`."""
        del console, name  # it takes seconds at most
        started = time.monotonic()
        texts = [self.frame.content(question_text(example)) for example in examples]
        answers = self.answers(texts, examples)
        samples = tuple(
            _sample(example, answer) for example, answer in zip(examples, answers, strict=True)
        )
        return Predictions(samples, seconds=time.monotonic() - started)


class BaselineAnswer(NamedTuple):
    """An answer of a baseline.

    Attributes:
        text: the answer.
        probabilities: of each choice, in their order; empty for open answers.
    """

    text: str
    probabilities: tuple[float, ...] = ()


def question_text(example: Example) -> str:
    """The question of an example: its user turns, or plain text itself."""
    asked = [turn.content for turn in example.messages if turn.role == "user"]
    return "\n".join(asked)


def likeliest(choices: Sequence[str], probabilities: Sequence[float]) -> BaselineAnswer:
    """The answer with the highest probability; the first of equally likely ones."""
    best = choices[max(range(len(choices)), key=lambda place: probabilities[place])]
    return BaselineAnswer(text=best, probabilities=tuple(probabilities))


def _sample(example: Example, answer: BaselineAnswer) -> SampleRecord:
    scored = [math.log(max(p, _LEAST_PROBABILITY)) for p in answer.probabilities]
    return SampleRecord(
        id=example.id,
        group=example.group,
        prompt=question_text(example),
        prediction=answer.text,
        references=tuple(map(answer_only, example.references)),
        choices=example.choices,
        words=example.choices if scored else (),
        likelihoods=tuple(scored),
        scores={},
        finish="stop",
    )


def _shared_start(texts: Sequence[str]) -> str:
    """The longest text that all texts begin with: that of the first and the last in order."""
    first, last = min(texts), max(texts)
    pairs = zip(first, last, strict=False)
    return first[: next((place for place, (a, b) in enumerate(pairs) if a != b), len(first))]


def _whole_words(shared: str) -> str:
    """The part of a shared text up to its last white space."""
    end = max((place for place, sign in enumerate(shared) if sign.isspace()), default=-1)
    return shared[: end + 1]
