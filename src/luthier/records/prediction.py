"""Answers to new rows, and the account of a prediction."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from luthier.core.probability import softmax
from luthier.core.terminal import printable
from luthier.records.base import Count, Record, Seconds
from luthier.records.evaluation import SampleRecord


class Answer(Record):
    """A model's answer to a row; as text it is ``text``.

    Attributes:
        text: the answer.
        finish: ``length``: a generated answer was cut at the token limit; otherwise ``stop``.
        probabilities: the probability of each choice among the choices; empty for open answers.
    """

    text: str
    finish: Literal["stop", "length"] = "stop"
    probabilities: dict[str, float] = Field(default_factory=dict)

    @classmethod
    def of(cls, sample: SampleRecord) -> Self:
        """The answer in a sample record; probabilities are the softmax of its likelihoods."""
        shares = softmax(sample.likelihoods)
        named = dict(zip(sample.choices, shares, strict=True)) if shares else {}
        return cls(text=sample.prediction, finish=sample.finish, probabilities=named)

    @property
    def probability(self) -> float | None:
        """The probability of the answer among the choices; None for open answers."""
        return self.probabilities.get(self.text)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        """The answer and its probabilities, the highest first."""
        ordered = sorted(self.probabilities.items(), key=lambda one: -one[1])
        shares = ", ".join(f"{printable(choice)} {share:.3f}" for choice, share in ordered)
        return f"<Answer {self.text!r}{': ' if shares else ''}{shares}>"


class Prediction(Record):
    """The account of ``luthier predict``.

    Attributes:
        run: the run directory, or that of a rung.
        rows: the number of answered rows.
        rejected: the number of rows that could not be answered.
        abstained: the number of answers that were left out for their low probability.
        seconds: the time of the prediction, without that of an interrupted one before.
        file: the file of the answered rows.
        rejected_file: the file of the other rows; empty if there are none.
    """

    run: str
    rows: Count
    rejected: Count
    abstained: Count = 0
    seconds: Seconds
    file: str = ""
    rejected_file: str = ""
