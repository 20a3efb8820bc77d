"""Preparation of a task for a model: reading its rows, and drawing its few-shot examples."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from luthier.core.errors import DataError, ProblemList, UsageError
from luthier.core.example import Example, Message
from luthier.core.row import Row
from luthier.core.seeds import derive
from luthier.data.task_rows import Rowset, read_shots, read_task
from luthier.evaluation.asking.ask import fits
from luthier.evaluation.asking.encode import TaskEncoder
from luthier.prompts.shots import choose_shots
from luthier.tasks.item import Asked, Document, Question, Shot
from luthier.tasks.task import Task

LimitDraw = Literal["seeded", "first"]

_POOL = 1_000
"""The number of leading rows to draw few-shot examples from; large splits are not read whole."""


@dataclass(frozen=True, slots=True)
class PreparedTask:
    """A task with its documents and few-shot examples, independent of a model.

    Attributes:
        task: the task.
        split: the split of the documents.
        documents: the items to measure; at least one, with unique ids.
        shots: the few-shot examples, the same for every document that is not among them.
        spares: replacements for examples that have the same question as a document.
        drawn: a description of the rows that were drawn from the split; empty if all rows are
            used.
        notes: sentences on guesses with which the file of the documents was read.
    """

    task: Task
    split: str
    documents: tuple[Document, ...]
    shots: tuple[Document, ...]
    spares: tuple[Document, ...] = ()
    drawn: str = ""
    notes: tuple[str, ...] = ()

    def questions(self, encoder: TaskEncoder[Any]) -> tuple[tuple[Question, ...], int]:
        """The questions with their contexts, and the number that have fewer few-shot examples."""
        asked = [self._question(document, encoder) for document in self.documents]
        return tuple(question for question, _ in asked), sum(fewer for _, fewer in asked)

    def shots_of(self, document: Document) -> tuple[Document, ...]:
        """The few-shot examples of a document, none of which has the document's own question."""
        if all(shot.question != document.question for shot in self.shots):
            return self.shots
        others = (
            shot for shot in (*self.shots, *self.spares) if shot.question != document.question
        )
        return tuple(others)[: len(self.shots)]

    @property
    def other_shots(self) -> int:
        """The number of documents that are few-shot examples themselves, and get replacements."""
        shown = {shot.question for shot in self.shots}
        return sum(document.question in shown for document in self.documents)

    def _question(self, document: Document, encoder: TaskEncoder[Any]) -> tuple[Question, bool]:
        shots = list(self.shots_of(document))
        question = self._asked(document, shots, encoder)
        if self.task.too_long == "fewer-shots":
            while shots and not fits(self.task, question, encoder):
                shots.pop()
                question = self._asked(document, shots, encoder)
        return question, len(shots) < len(self.shots)

    def _asked(
        self, document: Document, shots: Sequence[Document], encoder: TaskEncoder[Any]
    ) -> Question:
        task = self.task
        shown = tuple(Shot(shot.prompt, shot.solution, task.shown(shot)) for shot in shots)
        asked = Asked(document.system, shown, document.prompt, task.separator, task.after_system)
        context = encoder.context(asked)
        return Question(document, context, encoder.shown(context))


def prepare_task(
    task: Task,
    *,
    shots: int | None = None,
    limit: int | None = None,
    limit_draw: LimitDraw = "seeded",
    seed: int = 0,
    split: str | None = None,
) -> PreparedTask:
    """Read and check a task's rows, and draw its few-shot examples.

    Args:
        task: the task.
        shots: the number of few-shot examples; None: the task's own number.
        limit: the maximum number of rows of the split; None: all rows.
        limit_draw: whether these rows are drawn at random (seeded) or are the first ones.
        seed: the seed of both draws.
        split: an unlabelled split to predict in place of the task's own; its answers are not read.

    Raises:
        UsageError: few-shot examples are wanted, but the task has no questions.
        DataError: there is no data, a split is empty, rows are not valid, or there are too few
            rows to draw few-shot examples from.
    """
    count = task.shots if shots is None else shots
    if count and not task.takes_shots:
        raise UsageError(
            f"{task.name} has no questions, so it takes no worked examples",
            fix="measure it apart from the others, without --shots",
        )
    measured = split or task.split
    rows, drawn = _LIMITS[limit_draw](task, measured, limit, seed)
    documents = _documents(task, measured, rows, answered=split is None)
    shown, spares = _shots(task, count, seed, documents) if count else ((), ())
    return PreparedTask(task, measured, documents, shown, spares, drawn, rows.notes)


@dataclass(frozen=True, slots=True)
class _Placed:
    """Rows of a split with their indices.

    Attributes:
        rows: pairs of a row's index in the split and the row; the index is the default id.
        labels: the task's labels, by the source's labels.
        notes: sentences on guesses with which the file was read.
    """

    rows: tuple[tuple[int, Row], ...]
    labels: Mapping[str, str]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, rowset: Rowset) -> _Placed:
        """All rows of a set, with their indices."""
        return cls(tuple(enumerate(rowset.rows)), rowset.labels, rowset.notes)


def _first_rows(task: Task, split: str, limit: int | None, seed: int) -> tuple[_Placed, str]:
    found = read_task(task, split, limit, seed=seed)
    is_part = limit is not None and len(found.rows) == limit
    return _Placed.of(found), f"the first {limit:,} rows" if is_part else ""


def _drawn_rows(task: Task, split: str, limit: int | None, seed: int) -> tuple[_Placed, str]:
    """Rows drawn at random, in the order of the split, with a description of the draw.

    Rows that are scored together are drawn together or not at all, because a question with half of
    its answers would be an easier question. There may therefore be fewer rows than the limit.

    Raises:
        DataError: the limit is smaller than each set of rows that are scored together.
    """
    found = _Placed.of(read_task(task, split, seed=seed))
    total = len(found.rows)
    if limit is None or total <= limit:
        return found, ""
    sets: dict[str, list[int]] = {}
    for place, row in found.rows:
        sets.setdefault(task.question_id_of(row) or f"row {place}", []).append(place)
    order = sorted(sets)
    random.Random(derive(seed, "limit")).shuffle(order)  # noqa: S311
    places: set[int] = set()
    for name in order:
        if len(places) + len(sets[name]) <= limit:
            places.update(sets[name])
    if not places:
        raise DataError(
            f"a limit of {limit} rows holds no whole set of rows that {task.name} scores together",
            where=f"the split {split!r}",
            fix=f"raise the limit to {min(map(len, sets.values()))} or more",
        )
    rows = tuple(pair for pair in found.rows if pair[0] in places)
    words = f"{len(rows):,} of {total:,} rows, drawn with the seed {seed}"
    return _Placed(rows, found.labels, found.notes), words


_LIMITS = {"first": _first_rows, "seeded": _drawn_rows}


def _documents(task: Task, split: str, rows: _Placed, *, answered: bool) -> tuple[Document, ...]:
    made = _made(rows, partial(task.document, answered=answered))
    seen: dict[str, Document] = {}
    for document in made:
        if document.id in seen:
            raise DataError(
                f"the id {document.id!r} of {task.name} stands twice in the split {split!r}",
                where=f"{seen[document.id].where} and {document.where}",
            )
        seen[document.id] = document
    if not made:
        files = [source.splits[split] for source in task.files if split in source.splits]
        raise DataError(
            f"the split {split!r} of {task.name} has no rows",
            where=", ".join(files) or task.name,
            fix="fill it, or name another split",
        )
    return made


def _shots(
    task: Task, count: int, seed: int, measured: Sequence[Document]
) -> tuple[tuple[Document, ...], tuple[Document, ...]]:
    """The few-shot examples, and spares that replace a document's own question.

    A random draw excludes the questions of all documents. The first rows of a split follow a
    benchmark's protocol, so only the documents among them get a spare.

    Raises:
        DataError: there are too few rows, or too few with another question than a document.
    """
    found = _made(_Placed.of(read_shots(task, _POOL, seed=seed)), task.worked_example)
    draw = "first" if task.examples else task.draw
    asked = {document.question for document in measured} if draw == "seeded" else set()
    pool = [document for document in found if document.question not in asked]
    source = "examples" if task.examples else f"split {task.shots_from!r}"
    if len(pool) < count:
        left_out = len(found) - len(pool)
        others = f", {left_out} of which are asked too" if left_out else ""
        raise DataError(
            f"{count} shots are wanted, and the {source} of {task.name} has "
            f"{len(found)} rows{others}",
            fix="use fewer shots",
        )
    shown, spares = _DRAWS[draw](pool, count, seed)
    known = Counter(document.question for document in pool)
    for document in measured:
        if len(pool) - known[document.question] < count:
            raise DataError(
                f"{count} shots are wanted, and of the {len(pool)} rows of the {source} of "
                f"{task.name} {known[document.question]} ask what this row asks",
                where=document.where,
                fix="use fewer shots, or take them from rows that are not asked",
            )
    return shown, spares


def _made(
    rows: _Placed, make: Callable[[Row, int, Mapping[str, str]], Document]
) -> tuple[Document, ...]:
    """The document of each row; one error lists all invalid rows."""
    documents: list[Document] = []
    problems = ProblemList()
    for place, row in rows.rows:
        try:
            documents.append(make(row, place, rows.labels))
        except DataError as error:
            problems.add(error)
    problems.raise_if_any()
    return tuple(documents)


_Drawn = tuple[tuple[Document, ...], tuple[Document, ...]]


def _first(documents: Sequence[Document], count: int, seed: int) -> _Drawn:
    del seed
    return tuple(documents[:count]), tuple(documents[count:])


def _seeded(documents: Sequence[Document], count: int, seed: int) -> _Drawn:
    by_id = {document.id: document for document in documents}
    examples = [
        Example(
            id=document.id,
            messages=(Message("user", document.prompt),),
            references=document.references,
            choices=document.choices,
        )
        for document in documents
    ]
    # The pool excludes the questions of all documents, so no document needs a spare.
    return tuple(by_id[example.id] for example in choose_shots(examples, count, seed)), ()


_DRAWS = {"first": _first, "seeded": _seeded}
