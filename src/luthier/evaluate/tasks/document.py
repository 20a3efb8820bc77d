"""An item of a task: a row of data after the task's templates were filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from luthier.core.records import SampleRecord


@dataclass(frozen=True, slots=True)
class Document:
    """One item.

    Attributes:
        id: unique within its split.
        where: the place of its row, for error messages.
        group: items of one group (a passage) are one observation.
        part_of: what several items are scored as (the answers to a question).
        prompt: the question as text.
        choices: the labels of the answers that are scored; empty where the answer is open.
        words: what is scored for each choice, without the delimiter.
        references: accepted labels, or accepted answers; empty where they are not known.
        solution: what a worked example shows as its answer, without the delimiter.
        counts: how long a text is, in words and bytes.
    """

    id: str
    where: str
    prompt: str
    references: tuple[str, ...]
    solution: str = ""
    choices: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    group: str = ""
    part_of: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)

    def sample(self, prompt: str, prediction: str, **more: Any) -> SampleRecord:
        """The record of what a model answered to ``prompt``; scores are added later."""
        values: dict[str, Any] = {
            "id": self.id,
            "group": self.group or self.part_of,
            "part_of": self.part_of,
            "prompt": prompt,
            "prediction": prediction,
            "references": self.references,
            "choices": self.choices,
            "words": self.words,
            "scores": {},
            "finish": "stop",
        }
        return SampleRecord(**(values | more))


@dataclass(frozen=True, slots=True)
class Question:
    """A document as it is asked: ``context`` is all that stands before the answer."""

    document: Document
    context: str
