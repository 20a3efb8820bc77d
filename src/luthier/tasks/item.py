"""An item of a task: a row of data after the task's templates were filled in."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, NamedTuple

from luthier.core.example import Example, Message
from luthier.prompts.prompt import Conversation
from luthier.records.evaluation import SampleRecord


class Answer(NamedTuple):
    """The right answer of an item.

    Attributes:
        references: accepted labels, or accepted answers.
        solution: what a worked example shows as its answer, or its place among the words that are
            scored.
    """

    references: tuple[str, ...]
    solution: str | int = ""


@dataclass(frozen=True, slots=True)
class Document:
    """One item.

    Attributes:
        id: unique within its split.
        where: the place of its row, for error messages.
        group: items of one group (a passage) are one observation.
        question_id: what several items are scored as (the answers to a question).
        system: the system message; empty for none.
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
    system: str = ""

    def example(self, group: str = "") -> Example:
        """The item as an example that is trained, or asked for an answer in its own words.

        Args:
            group: the example's group; empty: what the item is part of.
        """
        accepted = (self.solution,) if self.choices else self.references
        # White space before a question in plain text is no part of a message.
        told = self.system.rstrip()
        system = (Message("system", told),) if told else ()
        return Example(
            id=self.id,
            messages=(*system, Message("user", self.prompt)),
            references=accepted,
            choices=tuple(dict.fromkeys(self.words)) if self.choices else (),
            group=group or self.group or self.question_id,
            where=self.where,
            # What is trained may be more than an accepted answer: its reasoning.
            answer=None if self.solution in accepted[:1] else Message("assistant", self.solution),
        )

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
class Shot:
    """A worked example.

    Attributes:
        question: its question.
        answer: its answer, without the delimiter.
        text: both, as plain text.
    """

    question: str
    answer: str
    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The parts of all that stands before an answer.

    Attributes:
        system: the system message; empty for none.
        shots: the worked examples.
        question: the question.
        separator: what stands between them in plain text.
        after_system: what stands behind the system message in plain text.
    """

    system: str
    shots: tuple[Shot, ...]
    question: str
    separator: str
    after_system: str = ""

    @property
    def text(self) -> str:
        """All of it as plain text."""
        texts = [*(shot.text for shot in self.shots), self.question]
        before = self.system + self.after_system if self.system else ""
        return before + self.separator.join(texts)

    @property
    def turns(self) -> tuple[Message, ...]:
        """All of it as a conversation: each worked example is a turn of the user and an answer."""
        system = [Message("system", self.system)] if self.system else []
        shown = [
            turn
            for shot in self.shots
            for turn in (Message("user", shot.question), Message("assistant", shot.answer))
        ]
        return (*system, *shown, Message("user", self.question))


@dataclass(frozen=True, slots=True)
class Question:
    """A document as it is asked.

    Attributes:
        document: the item.
        context: all that stands before the answer, as the encoder of its model writes it.
        prompt: the same as people read it.
    """

    document: Document
    context: str | Conversation
    prompt: str
