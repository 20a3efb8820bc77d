"""Tasks that score given answers by their likelihood, without generation."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from luthier.config.base import OneOrMore
from luthier.core.errors import DataError
from luthier.core.names import listed
from luthier.core.row import Row
from luthier.prompts.jinja import Jinja
from luthier.tasks.item import Answer
from luthier.tasks.needs import Need
from luthier.tasks.render import suggestion
from luthier.tasks.sources import TextKeys
from luthier.tasks.task import MetricName, Task

# A printed column, optionally followed by keys and indices.
_PRINTED = re.compile(
    r"""\{\{-?\s*([^\W\d]\w*(?:\.\w+|\[\s*(?:-?\d+|'[^']*'|"[^"]*")\s*\])*)\s*-?\}\}"""
)

_OF_ONE_LABEL = {"f1", "precision", "recall"}
"""The metrics whose argument is a label."""
Words = Annotated[Mapping[str, Jinja], TextKeys, Field(min_length=2)]


class LikelihoodTask(Task):
    """A task that scores the likelihood of each document's ``words`` after its context."""

    delimits_turns: ClassVar[bool] = False
    """Whether the delimiter is scored with the words even at the start of a chat turn."""


class ChoiceTask(LikelihoodTask):
    """Multiple choice among a fixed set of labels, each with its words (verbalizer)."""

    kind: Literal["choices"]
    label: Jinja
    """The right label of a row, as a template."""
    choices: Words
    """The words that are scored for each label, by label; they may use the row's columns."""
    metrics: Annotated[tuple[MetricName, ...], OneOrMore] = ()
    """The metrics. The first one decides comparisons; a suite averages all of them. None: accuracy,
    or balanced accuracy for a run's own data of uneven classes, and beside it macro-F1."""

    @model_validator(mode="after")
    def _metrics_know_the_labels(self) -> Self:
        for metric in self.metrics:
            name, _, label = metric.partition(":")
            if name in _OF_ONE_LABEL and label not in self.choices:
                raise ValueError(
                    f"the metric {metric} is of a label without words; "
                    f"the labels are {listed(self.choices)}"
                )
        return self

    @property
    def label_words(self) -> Mapping[str, str]:
        """The words of each label; ``<column>`` stands for the row's value in a column."""
        return _in_general(self.choices)

    def fields(self, row: Row) -> dict[str, Any]:
        """The labels and their words."""
        words = (self.filled(f"choices.{x}", text, row) for x, text in self.choices.items())
        return {"choices": tuple(self.choices), "words": tuple(words)}

    def answer(self, row: Row, source_labels: Mapping[str, str]) -> Answer:
        """The right label; a few-shot example shows its words.

        Raises:
            DataError: the row's label has no words.
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
    """A rating: the expected value of a scale's steps under the model's probabilities."""

    is_trainable: ClassVar[bool] = False

    kind: Literal["rating"]
    label: Jinja
    """The right rating of a row, as a template; it need not be one of the steps."""
    scale: Words
    """The words that are scored for each step, by step; every step is a number."""

    @model_validator(mode="after")
    def _steps_are_numbers(self) -> Self:
        for step in self.scale:
            step_of(step)
        return self

    @property
    def label_words(self) -> Mapping[str, str]:
        """The words of each step; ``<column>`` stands for the row's value in a column."""
        return _in_general(self.scale)

    def fields(self, row: Row) -> dict[str, Any]:
        """The steps and their words."""
        words = (self.filled(f"scale.{x}", text, row) for x, text in self.scale.items())
        return {"choices": tuple(self.scale), "words": tuple(words)}

    def answer(self, row: Row, source_labels: Mapping[str, str]) -> Answer:
        """The right rating; a few-shot example shows the words of the nearest step.

        Raises:
            DataError: the label is no number, or is not finite.
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
    """A cloze task: the likelihood of a text's end, and whether greedy decoding gives it."""

    delimits_turns: ClassVar[bool] = True

    kind: Literal["cloze"]
    completion: Jinja
    """The end of the text, which is scored."""

    @property
    def gives(self) -> frozenset[Need]:
        """See `Task.gives`."""
        return frozenset({"answers", "likelihoods"})

    def fields(self, row: Row) -> dict[str, Any]:
        """The end of the text: it is scored, so it is needed even if answers are not judged."""
        return {"words": (self.filled("completion", self.completion, row),)}

    def answer(self, row: Row, source_labels: Mapping[str, str]) -> Answer:
        """The end of the text, as the only accepted answer."""
        return Answer((self.filled("completion", self.completion, row),), 0)

    @property
    def snippets(self) -> Mapping[str, str]:
        """See `Task.snippets`."""
        return {**super().snippets, "completion": self.completion}


def _in_general(words: Mapping[str, str]) -> dict[str, str]:
    """The words for display: the names of columns stand for the values of rows."""
    return {label: _with_names(text) for label, text in words.items()}


def _with_names(text: str) -> str:
    """``text`` with ``<column>`` in place of each printed column.

    This works only for a column that is printed unchanged, or for a part of it such as ``c[0]`` or
    ``c.text``. A text with any other template code is returned as it is written.
    """
    named = _PRINTED.sub(lambda match: f"<{match.group(1)}>", text)
    return text if "{{" in named or "{%" in named else named


def step_of(text: str) -> float:
    """The number that a step of a scale stands for.

    Raises:
        ValueError: ``text`` is no number, or is not finite.
    """
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not finite")
    return value
