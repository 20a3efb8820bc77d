"""Multiple-choice tasks whose rows have their own choices: answers, or contexts of one answer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from luthier.core.errors import DataError
from luthier.core.names import listed
from luthier.core.row import Row
from luthier.prompts.jinja import Jinja
from luthier.tasks.columns import Column, beginning, one_or_more, place_of, texts_of
from luthier.tasks.item import Answer, Document
from luthier.tasks.likelihood import LikelihoodTask

_TRUE, _FALSE = {"1", "true"}, {"0", "false"}


class RowChoices(LikelihoodTask):
    """Multiple choice among a row's own choices, of which at least one is right.

    Exactly one of ``references``, ``answer_index`` and ``correct`` gives the right choices.
    Choices are named by their ``labels``. Without labels their texts are the names if
    ``references`` is given; otherwise their indices from 0 are.
    """

    _STORED_AS: ClassVar[Mapping[str, str]] = {**LikelihoodTask._STORED_AS, "references": "answers"}

    labels: Column | None = None
    """The column with the list of names of the choices."""
    references: Column | None = None
    """The column with the right choices, as a list or one value: their labels if ``labels`` is
    given, else their texts (elsewhere answers)."""
    answer_index: Column | None = None
    """The column with the right choice: its label if ``labels`` is given, else its index, a number
    from 0 or a letter from A."""
    correct: Column | None = None
    """The column with a list of one flag per choice: 1 or true if the choice is right, 0 or false
    if it is wrong."""

    @model_validator(mode="after")
    def _knows_what_is_right(self) -> Self:
        ways = ("references", "answer_index", "correct")
        if sum(getattr(self, way) is not None for way in ways) != 1:
            raise ValueError(f"give exactly one of {', '.join(ways)}")
        return self

    @property
    @abstractmethod
    def choices_column(self) -> str:
        """The column with the choices."""

    def texts(self, row: Row) -> tuple[str, ...]:
        """The texts of the row's choices, in order."""
        return texts_of(row, self.choices_column, self.name)

    def names(self, row: Row) -> tuple[str, ...]:
        """The name of each choice.

        Raises:
            DataError: there are not as many labels as choices, or two labels are equal.
        """
        texts = self.texts(row)
        if self.labels is None:
            return texts if self.references else tuple(map(str, range(len(texts))))
        labels = texts_of(row, self.labels, self.name)
        if len(labels) != len(texts) or len(set(labels)) < len(labels):
            raise DataError(
                f"the {len(texts)} choices of the task {self.name!r} have the labels "
                f"{listed(labels)}, and each needs one of its own",
                where=row.where,
                fix="correct the row, or the task's labels",
            )
        return labels

    def right(self, row: Row) -> tuple[int, ...]:
        """The indices of the right choices; empty if no right answer is among the choices.

        Raises:
            DataError: a label or an index belongs to no choice, or no choice is right.
        """
        names = self.names(row)
        labels = names if self.labels else None
        if self.correct is not None:
            return self._flagged(row, len(names))
        if self.answer_index is not None:
            (given,) = one_or_more(row, self.answer_index, self.name)[:1]
            return (place_of(given, labels, len(names), row.where),)
        right = one_or_more(row, self.references or "", self.name)
        if labels is not None:
            return tuple(place_of(one, labels, len(names), row.where) for one in right)
        return tuple(names.index(answer) for answer in right if answer in names)

    def accepted(self, row: Row) -> tuple[str, ...]:
        """The right answers, by the names of the choices."""
        if self.references is not None and self.labels is None:
            accepted = one_or_more(row, self.references, self.name)
            self._require_text(row, accepted)
            return accepted
        names = self.names(row)
        return tuple(names[place] for place in self.right(row))

    @property
    def columns(self) -> frozenset[str]:
        """See `Task.columns`."""
        said = (self.labels, self.references, self.answer_index, self.correct)
        lists = {beginning(column) for column in (self.choices_column, *said) if column}
        return (super().columns - {"candidate", "label"}) | lists

    @property
    def question_columns(self) -> frozenset[str]:
        """See `Task.question_columns`."""
        lists = {beginning(column) for column in (self.choices_column, self.labels) if column}
        return (super().question_columns - {"candidate", "label"}) | lists

    def _require_text(self, row: Row, accepted: tuple[str, ...]) -> None:
        """Refuse a single right answer that is not among the choices.

        Such a value is often a label or an index, so a wrong column was named.

        Raises:
            DataError: the only right answer is none of the choices.
        """
        if len(accepted) == 1 and accepted[0] not in self.texts(row):
            raise DataError(
                f"the right answer {accepted[0][:80]!r} of the task {self.name!r} is none of the "
                "row's choices",
                where=row.where,
                fix="name the column with their labels in labels, or give answer_index",
            )

    def _flagged(self, row: Row, count: int) -> tuple[int, ...]:
        flags = [text.strip().lower() for text in texts_of(row, self.correct or "", self.name)]
        if len(flags) != count or not set(flags) <= _TRUE | _FALSE or not _TRUE & set(flags):
            raise DataError(
                f"{self.correct!r} of the task {self.name!r} must say of each of the {count} "
                "choices whether it is right, and of at least one that it is",
                where=row.where,
                fix="give a list of 0 and 1, as long as that of the choices",
            )
        return tuple(place for place, flag in enumerate(flags) if flag in _TRUE)


class CandidateTask(RowChoices):
    """Multiple choice among a row's own candidates, scored after the same question."""

    kind: Literal["candidates"]
    candidates: Column
    """The column with the list of candidates."""
    words: Jinja = "{{ candidate }}"
    """The text that is scored for a candidate. ``candidate`` stands for its text, and ``label`` for
    its name."""

    @property
    def choices_column(self) -> str:
        """See `RowChoices.choices_column`."""
        return self.candidates

    @property
    def snippets(self) -> Mapping[str, str]:
        """See `Task.snippets`."""
        return {**super().snippets, "words": self.words}

    def fields(self, row: Row) -> dict[str, Any]:
        """The names of the candidates, and their words."""
        return {"choices": self.names(row), "words": tuple(self._words(row))}

    def answer(self, row: Row, source_labels: Mapping[str, str]) -> Answer:
        """All right candidates; a few-shot example shows the words of the first."""
        references = self.accepted(row)
        if right := self.right(row):
            return Answer(references, right[0])
        return Answer(references, self.filled("words", self.words, row, candidate=references[0]))

    def _words(self, row: Row) -> list[str]:
        return [
            self.filled("words", self.words, row, candidate=text, label=label)
            for text, label in zip(self.texts(row), self.names(row), strict=True)
        ]


class ContextTask(RowChoices):
    """Multiple choice among a row's own contexts, by partial evaluation.

    All contexts of a row have the same continuation. The answer is the context after which the
    continuation is likeliest (Trinh and Le 2018, arXiv 1806.02847). ``prompt`` stands before each
    context.
    """

    takes_turns: ClassVar[bool] = False
    is_trainable: ClassVar[bool] = False

    kind: Literal["contexts"]
    contexts: Column
    """The column with the list of contexts."""
    continuation: Jinja
    """The text that follows each context, after the delimiter."""

    @property
    def choices_column(self) -> str:
        """See `RowChoices.choices_column`."""
        return self.contexts

    @property
    def snippets(self) -> Mapping[str, str]:
        """See `Task.snippets`."""
        return {**super().snippets, "continuation": self.continuation}

    def fields(self, row: Row) -> dict[str, Any]:
        """The contexts with their names, and the continuation for each."""
        contexts = self.texts(row)
        words = self.filled("continuation", self.continuation, row)
        return {
            "choices": self.names(row),
            "contexts": contexts,
            "words": (words,) * len(contexts),
        }

    def answer(self, row: Row, source_labels: Mapping[str, str]) -> Answer:
        """The right contexts; a few-shot example shows the first of them.

        Raises:
            DataError: none of the row's contexts is right.
        """
        right = self.right(row)
        if not right:
            raise DataError("none of the row's contexts is right", where=row.where)
        words = self.filled("continuation", self.continuation, row)
        solution = f"{self.texts(row)[right[0]]}{self.delimiter}{words}"
        return Answer(self.accepted(row), solution)

    def shown(self, shot: Document) -> str:
        """See `Task.shown`: the solution is the right context with its continuation."""
        return shot.prompt + shot.solution
