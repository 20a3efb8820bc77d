"""A task with its rows read, its shots drawn and its contexts written: all that needs no model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from luthier.core.errors import DataError, ProblemList, UsageError
from luthier.core.example import Example, Message
from luthier.data.readers import Row
from luthier.evaluate.tasks.document import Document, Question
from luthier.evaluate.tasks.encode import TextEncoder
from luthier.evaluate.tasks.sources import Rowset
from luthier.evaluate.tasks.task import Task
from luthier.prompts.shots import choose_shots

_POOL = 1_000
"""Rows that shots are drawn from: the first ones, so that large splits are not read whole."""


@dataclass(frozen=True, slots=True)
class PreparedTask:
    """What is asked, before a model is there.

    Attributes:
        task: the task.
        split: the split that the documents are of.
        documents: at least one, with unique ids.
        shots: worked examples, the same for every document.
    """

    task: Task
    split: str
    documents: tuple[Document, ...]
    shots: tuple[Document, ...]

    def questions(self, encoder: TextEncoder) -> tuple[tuple[Question, ...], int]:
        """The documents with their shots, and how many have fewer than there could be."""
        asked = [self._question(document, encoder) for document in self.documents]
        return tuple(question for question, _ in asked), sum(fewer for _, fewer in asked)

    def _question(self, document: Document, encoder: TextEncoder) -> tuple[Question, bool]:
        shots = list(self.shots)
        question = Question(document, self._context(document, shots))
        if self.task.too_long == "fewer-shots":
            while shots and not self.task.fits(question, encoder):
                shots.pop()
                question = Question(document, self._context(document, shots))
        return question, len(shots) < len(self.shots)

    def _context(self, document: Document, shots: Sequence[Document]) -> str:
        shown = (f"{shot.prompt}{self.task.delimiter}{shot.solution}" for shot in shots)
        texts = [*shown, document.prompt]
        return self.task.description + self.task.separator.join(texts)


def prepare_task(
    task: Task,
    *,
    shots: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    split: str | None = None,
) -> PreparedTask:
    """Read and check a task's rows, and draw its shots.

    Args:
        task: the task.
        shots: worked examples; None: as many as the task says.
        limit: the first rows of the split; None: all.
        seed: decides which shots are drawn.
        split: another split than the task's, whose answers are not looked at: it is predicted,
            not measured.

    Raises:
        UsageError: shots are wanted, and the task has no questions.
        DataError: there is no data, a split is empty, rows are not valid, or there are too few
            rows to draw shots from.
    """
    count = task.shots if shots is None else shots
    if count and not task.takes_shots:
        raise UsageError(
            f"{task.name} has no questions, so it takes no worked examples",
            fix="measure it apart from the others, without --shots",
        )
    measured = split or task.split
    rows = task.read(measured, limit)
    documents = _documents(task, measured, rows, answered=split is None)
    shown = _shots(task, count, seed, documents) if count else ()
    return PreparedTask(task, measured, documents, shown)


def _documents(task: Task, split: str, rows: Rowset, *, answered: bool) -> tuple[Document, ...]:
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


def _shots(task: Task, count: int, seed: int, measured: Sequence[Document]) -> tuple[Document, ...]:
    """Worked examples. None that is drawn is asked too; the first ones are those of a protocol."""
    asked = {_content(document) for document in measured} if task.draw == "seeded" else set()
    found = _made(task.read(task.shots_from, _POOL), task.example)
    documents = [document for document in found if _content(document) not in asked]
    if len(documents) < count:
        left_out = len(found) - len(documents)
        others = f", {left_out} of which are asked too" if left_out else ""
        raise DataError(
            f"{count} shots are wanted, and the split {task.shots_from!r} of {task.name} has "
            f"{len(found)} rows{others}",
            fix="use fewer shots",
        )
    return _DRAWS[task.draw](documents, count, seed)


def _content(document: Document) -> tuple[object, ...]:
    return document.prompt, document.choices, document.words


def _made(
    rows: Rowset, make: Callable[[Row, int, Mapping[str, str]], Document]
) -> tuple[Document, ...]:
    """The document of each row; all rows with mistakes are one error."""
    documents: list[Document] = []
    problems = ProblemList()
    for place, row in enumerate(rows.rows):
        try:
            documents.append(make(row, place, rows.labels))
        except DataError as error:
            problems.add(error)
    problems.raise_if_any()
    return tuple(documents)


def _first(documents: Sequence[Document], count: int, seed: int) -> tuple[Document, ...]:
    del seed
    return tuple(documents[:count])


def _seeded(documents: Sequence[Document], count: int, seed: int) -> tuple[Document, ...]:
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
    return tuple(by_id[example.id] for example in choose_shots(examples, count, seed))


_DRAWS = {"first": _first, "seeded": _seeded}
