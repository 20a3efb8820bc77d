"""Tasks whose rows bring their own choices: other answers, or other contexts of one answer."""

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
    """One of several choices that a row brings along, of which at least one is right.

    What is right is said in one of three ways: by ``references``, ``answer_index`` or ``correct``.
    Choices are called by their ``labels``; without them by their texts where ``references`` says
    what is right, else by their places, from 0.
    """

    _STORED_AS: ClassVar[Mapping[str, str]] = {**LikelihoodTask._STORED_AS, "references": "answers"}

    labels: Column | None = None
    """The column with a list that says what each choice is called."""
    references: Column | None = None
    """The column with the right choices, a list or one value: their labels if ``labels`` are
    given, else their texts (elsewhere answers)."""
    answer_index: Column | None = None
    """The column with the right one: its label if ``labels`` are given, else its place: a number
    from 0, or a letter from A."""
    correct: Column | None = None
    """The column with a list that says of each choice whether it is right: 1 or 0, true or
    false."""

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
        """The choices as the row has them."""
        return texts_of(row, self.choices_column, self.name)

    def names(self, row: Row) -> tuple[str, ...]:
        """What each choice is called.

        Raises:
            DataError: there are not as many labels as choices, or two are equal.
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
        """The places of the right choices; none where a right answer is no choice.

        Raises:
            DataError: a label or an index is that of no choice, or no choice is right.
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
        """What is right, as choices are called."""
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

    def _require_text(self, row: Row, accepted: tuple[str, ...]) -> None:
        """Refuse a single right answer that is no candidate: it is often a label, or an index.

        Raises:
            DataError: it is one.
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
    """One of the candidates that each row brings along, after the question they share."""

    kind: Literal["candidates"]
    candidates: Column
    """The column with the list of candidates."""
    words: Jinja = "{{ candidate }}"
    """What is scored for one of them; it is called ``candidate`` here, and ``label`` is what it is
    called where labels are given."""

    @property
    def choices_column(self) -> str:
        """See `RowChoices.choices_column`."""
        return self.candidates

    @property
    def snippets(self) -> Mapping[str, str]:
        """See `Task.snippets`."""
        return {**super().snippets, "words": self.words}

    def fields(self, row: Row) -> dict[str, Any]:
        """The candidates and their words."""
        return {"choices": self.names(row), "words": tuple(self._words(row))}

    def answer(self, row: Row, source_labels: Mapping[str, str]) -> Answer:
        """All right candidates, and the words of the first."""
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
    """One of the contexts that each row brings along: the one that its continuation fits best.

    All contexts of a row have the same continuation, whose likelihood after each is compared
    (partial evaluation; Trinh and Le 2018, arXiv 1806.02847). ``prompt`` stands before each.
    """

    takes_turns: ClassVar[bool] = False
    is_trainable: ClassVar[bool] = False

    kind: Literal["contexts"]
    contexts: Column
    """The column with the list of contexts."""
    continuation: Jinja
    """What follows each of them, behind the delimiter."""

    @property
    def choices_column(self) -> str:
        """See `RowChoices.choices_column`."""
        return self.contexts

    @property
    def snippets(self) -> Mapping[str, str]:
        """See `Task.snippets`."""
        return {**super().snippets, "continuation": self.continuation}

    def fields(self, row: Row) -> dict[str, Any]:
        """The contexts, and the continuation for each."""
        contexts = self.texts(row)
        words = self.filled("continuation", self.continuation, row)
        return {
            "choices": self.names(row),
            "contexts": contexts,
            "words": (words,) * len(contexts),
        }

    def answer(self, row: Row, source_labels: Mapping[str, str]) -> Answer:
        """The right contexts; a worked example shows the first of them.

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
