"""An item of a task: a row of data after the task's templates were filled in."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from luthier.records.evaluation import SampleRecord


@dataclass(frozen=True, slots=True)
class Document:
    """One item.

    Attributes:
        id: unique within its split.
        where: the place of its row, for error messages.
        group: items of one group (a passage) are one observation.
        question_id: what several items are scored as (the answers to a question).
        prompt: the question as text.
        choices: the labels of the answers that are scored; empty where the answer is open.
        words: what is scored for each choice, without the delimiter.
        references: accepted labels, or accepted answers; empty where they are not known.
        solution: what a worked example shows as its answer, without the delimiter.
        counts: how long a text is, in words and bytes.
        contexts: what stands before each choice's words, where choices differ in that.
    """

    id: str
    where: str
    prompt: str
    references: tuple[str, ...]
    solution: str = ""
    choices: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    group: str = ""
    question_id: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    contexts: tuple[str, ...] = ()

    @property
    def question(self) -> tuple[object, ...]:
        """What is asked, whatever the right answer: equal for rows that ask the same.

        White space, case and the order of choices do not make another question.
        """
        parts = zip_longest(self.contexts, self.words if self.choices else (), fillvalue="")
        return _plain(self.prompt), tuple(sorted((_plain(a), _plain(b)) for a, b in parts))

    def sample(self, prompt: str, prediction: str, **more: Any) -> SampleRecord:
        """The record of what a model answered to ``prompt``; scores are added later."""
        values: dict[str, Any] = {
            "id": self.id,
            "group": self.group or self.question_id,
            "question_id": self.question_id,
            "prompt": prompt,
            "prediction": prediction,
            "references": self.references,
            "choices": self.choices,
            "words": self.words,
            "contexts": self.contexts,
            "scores": {},
            "finish": "stop",
        }
        return SampleRecord(**(values | more))


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@dataclass(frozen=True, slots=True)
class Question:
    """A document as it is asked: ``context`` is all that stands before the answer."""

    document: Document
    context: str
