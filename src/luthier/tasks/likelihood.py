"""Tasks whose answers are scored by their likelihood; nothing is generated."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from luthier.core.errors import DataError
from luthier.core.names import listed
from luthier.core.row import Row
from luthier.prompts.jinja import Jinja
from luthier.tasks.item import Answer
from luthier.tasks.needs import Need
from luthier.tasks.render import suggestion
from luthier.tasks.sources import TextKeys
from luthier.tasks.task import Task

# A column, perhaps with keys and indices behind it.
_PRINTED = re.compile(
    r"""\{\{-?\s*([^\W\d]\w*(?:\.\w+|\[\s*(?:-?\d+|'[^']*'|"[^"]*")\s*\])*)\s*-?\}\}"""
)

Words = Annotated[Mapping[str, Jinja], TextKeys, Field(min_length=2)]


class LikelihoodTask(Task):
    """A task that scores ``words`` of each document after its context."""

    delimits_turns: ClassVar[bool] = False
    """Whether the delimiter is a part of what is scored, also where a turn begins with it."""


class ChoiceTask(LikelihoodTask):
    """One of a fixed set of labels, each of which has its words."""

    kind: Literal["choices"]
    label: Jinja
    """The right label of a row."""
    choices: Words
    """From every label to the words that are scored for it, which may use the row's columns."""

    @model_validator(mode="after")
    def _metrics_know_the_labels(self) -> Self:
        for metric in self.metrics:
            name, _, label = metric.partition(":")
            if name == "f1" and label not in self.choices:
                raise ValueError(
                    f"the metric {metric} is of a label without words; "
                    f"the labels are {listed(self.choices)}"
                )
        return self

    @property
    def label_words(self) -> Mapping[str, str]:
        """The words of each label; ``<column>`` stands for what each row has there."""
        return _in_general(self.choices)

    def fields(self, row: Row) -> dict[str, Any]:
        """The labels and their words."""
        words = (self.filled(f"choices.{x}", text, row) for x, text in self.choices.items())
        return {"choices": tuple(self.choices), "words": tuple(words)}

    def answer(self, row: Row, source_labels: Mapping[str, str]) -> Answer:
        """The label, and its words for a worked example.

        Raises:
            DataError: the row has a label that has no words.
        """
        given = self.render("label", self.label, row)
        label = source_labels.get(given, given)
        if label not in self.choices:
            known = listed(f"{x!r} ({text!r})" for x, text in self.choices.items())
            raise DataError(
                f"the label {given[:80]!r} has no words in the task {self.name!r}",
                where=row.where,
                fix=suggestion(
                    given[:80],
                    self.choices,
                    f"the labels are {known}; translate others with labels",
                ),
            )
        return Answer((label,), list(self.choices).index(label))

    @property
    def snippets(self) -> Mapping[str, str]:
        """See `Task.snippets`."""
        choices = {f"choices.{label}": text for label, text in self.choices.items()}
        return {**super().snippets, "label": self.label, **choices}


class RatingTask(LikelihoodTask):
    """A number on a scale: the mean of its steps, weighted by their probability."""

    is_trainable: ClassVar[bool] = False

    kind: Literal["rating"]
    label: Jinja
    """The right number of a row; it need not be one of the steps."""
    scale: Words
    """From every step, a number, to the words that are scored for it."""

    @model_validator(mode="after")
    def _steps_are_numbers(self) -> Self:
        for step in self.scale:
            step_of(step)
        return self

    @property
    def label_words(self) -> Mapping[str, str]:
        """The words of each step; ``<column>`` stands for what each row has there."""
        return _in_general(self.scale)

    def fields(self, row: Row) -> dict[str, Any]:
        """The steps and their words."""
        words = (self.filled(f"scale.{x}", text, row) for x, text in self.scale.items())
        return {"choices": tuple(self.scale), "words": tuple(words)}

    def answer(self, row: Row, source_labels: Mapping[str, str]) -> Answer:
        """The number, and the words of the nearest step.

        Raises:
            DataError: it is no number.
        """
        text = self.render("label", self.label, row)
        try:
            value = step_of(text)
        except ValueError as error:
            raise DataError(
                f"the rating is no number: {error}",
                where=row.where,
                fix="correct the row, or the task's label",
            ) from None
        steps = list(self.scale)
        nearest = min(steps, key=lambda step: abs(step_of(step) - value))
        return Answer((text,), steps.index(nearest))

    @property
    def snippets(self) -> Mapping[str, str]:
        """See `Task.snippets`."""
        steps = {f"scale.{step}": text for step, text in self.scale.items()}
        return {**super().snippets, "label": self.label, **steps}


class ClozeTask(LikelihoodTask):
    """The end of a text: is it what greedy decoding gives, and how likely is it?"""

    delimits_turns: ClassVar[bool] = True

    kind: Literal["cloze"]
    completion: Jinja
    """The end."""

    @property
    def gives(self) -> frozenset[Need]:
        """See `Task.gives`."""
        return frozenset({"answers", "likelihoods"})

    def fields(self, row: Row) -> dict[str, Any]:
        """The end is all that is scored, so it is needed even where nobody judges."""
        return {"words": (self.filled("completion", self.completion, row),)}

    def answer(self, row: Row, source_labels: Mapping[str, str]) -> Answer:
        """The end."""
        return Answer((self.filled("completion", self.completion, row),), 0)

    @property
    def snippets(self) -> Mapping[str, str]:
        """See `Task.snippets`."""
        return {**super().snippets, "completion": self.completion}


def _in_general(words: Mapping[str, str]) -> dict[str, str]:
    """Words for people: with the names of columns where the rows' own texts will stand."""
    return {label: _with_names(text) for label, text in words.items()}


def _with_names(text: str) -> str:
    """``text`` with the names of columns in place of what rows have in them.

    Only a column that is printed as it is, or a part of it such as ``c[0]`` or ``c.text``, has a
    name; a text that does anything else is shown as it is written.
    """
    named = _PRINTED.sub(lambda match: f"<{match.group(1)}>", text)
    return text if "{{" in named or "{%" in named else named


def step_of(text: str) -> float:
    """A number on a scale.

    Raises:
        ValueError: it is none, or not finite.
    """
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not finite")
    return value
