"""An item of a task: a row of data, rendered with the task's templates."""

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
        references: the accepted labels or accepted answers.
        solution: the answer that a few-shot example shows, or its index among the scored words.
    """

    references: tuple[str, ...]
    solution: str | int = ""


@dataclass(frozen=True, slots=True)
class Document:
    """One item of a task.

    Attributes:
        id: the id, unique within the split.
        where: the place of the row, for error messages.
        group: the cluster for intervals; items of one group (a passage) are one observation.
        question_id: the question that several items are scored together for; empty for none.
        system: the system message; empty for none.
        prompt: the question as text.
        choices: the labels of the scored answers; empty if the answer is open.
        words: the text that is scored for each choice, without the delimiter.
        references: the accepted labels or accepted answers; empty if they are not known.
        solution: the answer that a few-shot example shows, without the delimiter.
        counts: the length of a text, in words and bytes.
        contexts: the text before each choice's words, if choices differ in it.
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
        """The item as an example for training, or for an evaluation with generated answers.

        Args:
            group: the example's group; empty: the item's own group, or its question.
        """
        accepted = (self.solution,) if self.choices else self.references
        # White space at the end separates plain texts; a message does not need it.
        told = self.system.rstrip()
        system = (Message("system", told),) if told else ()
        return Example(
            id=self.id,
            messages=(*system, Message("user", self.prompt)),
            references=accepted,
            choices=tuple(dict.fromkeys(self.words)) if self.choices else (),
            group=group or self.group or self.question_id,
            where=self.where,
            # The trained answer may also contain reasoning, which accepted answers do not.
            answer=None if self.solution in accepted[:1] else Message("assistant", self.solution),
        )

    @property
    def question(self) -> tuple[object, ...]:
        """A key that is equal for items with the same question, whatever their right answers.

        White space, case and the order of choices do not change the key.
        """
        parts = zip_longest(self.contexts, self.words if self.choices else (), fillvalue="")
        return _plain(self.prompt), tuple(sorted((_plain(a), _plain(b)) for a, b in parts))

    def sample(self, prompt: str, prediction: str, **more: Any) -> SampleRecord:
        """The sample record of a model's answer to ``prompt``, still without scores.

        Args:
            prompt: the prompt as people read it.
            prediction: the answer.
            more: further fields of the record, which replace those of the item.
        """
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
    """A few-shot example (worked example).

    Attributes:
        question: its question.
        answer: its answer, without the delimiter.
        text: question and answer as plain text.
    """

    question: str
    answer: str
    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The parts of the context before an answer.

    Attributes:
        system: the system message; empty for none.
        shots: the few-shot examples.
        question: the question.
        separator: the text between examples, and before the question, in plain text.
        after_system: the text after the system message in plain text.
    """

    system: str
    shots: tuple[Shot, ...]
    question: str
    separator: str
    after_system: str = ""

    @property
    def text(self) -> str:
        """The context as plain text."""
        texts = [*(shot.text for shot in self.shots), self.question]
        before = self.system + self.after_system if self.system else ""
        return before + self.separator.join(texts)

    @property
    def turns(self) -> tuple[Message, ...]:
        """The context as a conversation; each few-shot example is a user turn and an answer."""
        system = [Message("system", self.system)] if self.system else []
        shown = [
            turn
            for shot in self.shots
            for turn in (Message("user", shot.question), Message("assistant", shot.answer))
        ]
        return (*system, *shown, Message("user", self.question))


@dataclass(frozen=True, slots=True)
class Question:
    """An item with its context for one model.

    Attributes:
        document: the item.
        context: the whole context before the answer, as the model's encoder writes it.
        prompt: the same context as people read it.
    """

    document: Document
    context: str | Conversation
    prompt: str
