"""Prediction: answers to new rows, in chunks, with the rows that cannot be answered kept apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from luthier.context.run_predictor import PredictorSource, RunPredictor
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.core.example import Example
from luthier.core.names import did_you_mean, listed, named
from luthier.core.row import Row
from luthier.data.problems import Dropped, Problems
from luthier.records.prediction import Answer
from luthier.records.result_cache import ResultCache

CHUNK = 2048
"""Rows that are answered together: enough to share prefixes and to sort by length."""
_DIGITS = 6
"""Decimal places of probabilities in files."""


class RowSource(NamedTuple):
    """Rows to answer, which can be read more than once.

    Attributes:
        name: the name of the source, for messages.
        read: reads the rows; errors in single rows go to the collector.
        path: their file; None: they are in no file.
    """

    name: str
    read: Callable[[Problems], Iterable[Row]]
    path: Path | None = None


class Rejected(NamedTuple):
    """A row that cannot be answered.

    Attributes:
        where: the location of the row, such as ``new.csv:17``.
        reason: the reason.
        values: the values of the row; None: the row cannot be read.
    """

    where: str
    reason: str
    values: Mapping[str, Any] | None

    @classmethod
    def of(cls, error: DataError, row: Row | None = None) -> Rejected:
        """The rejected row of an error."""
        where = error.where or (row.where if row else "")
        return cls(where, error.problem, row.values if row else None)


class Answered(NamedTuple):
    """A row with its answer."""

    row: Row
    answer: Answer


class Chunk(NamedTuple):
    """The outcome of some rows, in order."""

    answered: tuple[Answered, ...]
    rejected: tuple[Rejected, ...]


class Survey(NamedTuple):
    """The number of rows of a source, and the columns that any of them has, in order."""

    rows: int
    columns: tuple[str, ...]


@dataclass(slots=True)
class RejectProblems:
    """Collects unreadable rows as rejected ones.

    Attributes:
        is_strict: whether the first unreadable row is an error.
        rejected: the rows since they were last taken.
        notes: the guesses with which the rows were read.
    """

    is_strict: bool = False
    rejected: list[Rejected] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def add(self, problem: DataError) -> None:
        """Record that a row cannot be read.

        Raises:
            DataError: bad rows are errors.
        """
        if self.is_strict:
            raise problem
        self.rejected.append(Rejected.of(problem))

    def note(self, text: str) -> None:
        """Record a guess that a reader had to make, once."""
        self.notes = tuple(dict.fromkeys((*self.notes, text)))

    def finish(self) -> tuple[Dropped, ...]:
        """Nothing: the rows are in ``rejected``."""
        return ()

    def take(self) -> tuple[Rejected, ...]:
        """The rows since this was last called."""
        taken, self.rejected = tuple(self.rejected), []
        return taken


def survey(predictor: RunPredictor, source: RowSource, console: Console) -> Survey:
    """Count the rows of a source, and check their columns, before a model is loaded.

    Args:
        predictor: the run.
        source: the rows.
        console: shows the guesses with which they are read.

    Raises:
        DataError: there are no rows, or none of them has a column that the run's task needs.
    """
    columns: dict[str, None] = {}
    count, problems = 0, RejectProblems()
    for row in source.read(problems):
        count += 1
        columns.update(dict.fromkeys(row.values))
    for note in problems.notes:
        console.warn(note)
    if not count:
        raise _no_rows(source, problems.take())
    if missing := predictor.shape.missing(columns):
        raise DataError(
            f"no row has the column {named(missing[0])}, which the run's task needs",
            where=source.name,
            fix=f"{did_you_mean(missing[0], columns)} the columns are "
            f"{listed(columns, show=named) or 'none'}; the task needs "
            f"{listed(predictor.shape.columns, show=named)}".strip(),
        )
    return Survey(count, tuple(columns))


def _no_rows(source: RowSource, unreadable: Sequence[Rejected]) -> DataError:
    if not unreadable:
        return DataError("there are no rows to answer", where=source.name)
    first = unreadable[0]
    many = f"none of {len(unreadable):,} rows can" if len(unreadable) > 1 else "the only row cannot"
    return DataError(f"{many} be read: {first.reason}", where=first.where or source.name)


def answer_source(
    predictor: RunPredictor,
    model: PredictorSource,
    source: RowSource,
    console: Console,
    *,
    rows: int,
    is_strict: bool = False,
    cache_of: Callable[[int], ResultCache | None] = lambda _number: None,
) -> Iterator[Chunk]:
    """Answer all rows of a source, some thousand at a time.

    Args:
        predictor: the run.
        model: its loaded model.
        source: the rows.
        console: shows progress.
        rows: the number of rows.
        is_strict: whether the first row that cannot be answered is an error.
        cache_of: the cache for the answers of a chunk, by its number from 0.

    Raises:
        DataError: a row cannot be answered, and ``is_strict`` is set.
        ResourceError: a cache cannot be written.
    """
    problems = RejectProblems(is_strict)
    with console.progress("Predicting", rows) as advance:
        for number, chunk in enumerate(_chunks(source.read(problems))):
            name = f"rows {number * CHUNK + 1:,} to {number * CHUNK + len(chunk):,}"
            found = answer_rows(predictor, model, chunk, console, name, problems, cache_of(number))
            advance(len(chunk))
            yield found
    if rest := problems.take():
        yield Chunk((), rest)


def _chunks(rows: Iterable[Row]) -> Iterator[tuple[Row, ...]]:
    left = iter(rows)
    while chunk := tuple(islice(left, CHUNK)):
        yield chunk


def answer_rows(
    predictor: RunPredictor,
    model: PredictorSource,
    rows: Sequence[Row],
    console: Console,
    name: str,
    problems: RejectProblems,
    cache: ResultCache | None = None,
) -> Chunk:
    """Answer rows together; arguments as in `answer_source`.

    Raises:
        DataError: a row cannot be answered, and ``problems`` is strict.
    """
    before = problems.take()
    asked = _questions(predictor, rows, problems)
    able = model(cache)
    refusals = able.refusals([example for _, example in asked])
    for (row, _), refusal in zip(asked, refusals, strict=True):
        if refusal:
            _reject(problems, refusal, row)
    fine = [pair for pair, refusal in zip(asked, refusals, strict=True) if refusal is None]
    samples = able.predict([example for _, example in fine], console, name).samples if fine else ()
    answered = tuple(
        Answered(row, Answer.of(sample)) for (row, _), sample in zip(fine, samples, strict=True)
    )
    return Chunk(answered, (*before, *problems.take()))


def _questions(
    predictor: RunPredictor, rows: Iterable[Row], problems: RejectProblems
) -> list[tuple[Row, Example]]:
    """Each row that makes a question, with the question."""
    asked = []
    for row in rows:
        try:
            _require_content(predictor.shape.columns, row)
            asked.append((row, predictor.question(row)))
        except DataError as error:
            _reject(problems, error, row)
    return asked


def _require_content(columns: Sequence[str], row: Row) -> None:
    """Refuse a row in which all columns of the question are empty.

    Raises:
        DataError: they are.
    """
    given = [row.values[name] for name in columns if name in row.values]
    if given and all(value is None or not str(value).strip() for value in given):
        raise DataError(f"the row is empty in {listed(columns, show=named)}", where=row.where)


def _reject(problems: RejectProblems, error: DataError, row: Row) -> None:
    if problems.is_strict:
        raise error
    problems.rejected.append(Rejected.of(error, row))


@dataclass(frozen=True, slots=True)
class AddedColumns:
    """The columns that a prediction adds to rows.

    Attributes:
        choices: the answers with a column for their probability.
        is_scored: whether answers have probabilities.
        threshold: the probability below which an answer is left out; None: all are given.
        prefix: the text before the names of the columns.
    """

    choices: tuple[str, ...]
    is_scored: bool
    threshold: float | None = None
    prefix: str = ""

    @classmethod
    def of(cls, predictor: RunPredictor, threshold: float | None, prefix: str) -> AddedColumns:
        """The columns for the answers of a run.

        Raises:
            UsageError: the threshold is no probability, or answers have no probabilities.
        """
        if threshold is not None and not 0 <= threshold <= 1:
            raise UsageError("a threshold is a probability, from 0 to 1", where="--abstain")
        if threshold is not None and not predictor.chooses:
            raise UsageError(
                "the answers of this run have no probabilities, so it cannot abstain",
                where="--abstain",
                fix="leave it out; only choices that are scored by likelihood have probabilities",
            )
        choices = predictor.choices if predictor.chooses else ()
        return cls(choices, predictor.chooses, threshold, prefix)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        scored = ("probability", *(f"probability.{choice}" for choice in self.choices))
        names = ("prediction", *(scored if self.is_scored else ("finish",)))
        abstained = ("abstained",) if self.threshold is not None else ()
        return tuple(f"{self.prefix}{name}" for name in (*names, *abstained))

    def values(self, answer: Answer) -> dict[str, Any]:
        """The values of the columns for an answer."""
        abstains = self.abstains(answer)
        values: list[Any] = ["" if abstains else answer.text]
        if self.is_scored:
            shares = (answer.probability, *map(answer.probabilities.get, self.choices))
            values += [None if share is None else round(share, _DIGITS) for share in shares]
        else:
            values.append(answer.finish)
        if self.threshold is not None:
            values.append(abstains)
        return dict(zip(self.names, values, strict=True))

    def abstains(self, answer: Answer) -> bool:
        """Whether an answer is left out."""
        return self.threshold is not None and (answer.probability or 0.0) < self.threshold

    def require_new(self, columns: Sequence[str], where: str) -> None:
        """Refuse rows that have a column of the same name, whose values would be lost.

        Raises:
            UsageError: they have one.
        """
        if taken := [name for name in self.names if name in columns]:
            raise UsageError(
                f"the rows have columns that the prediction adds: {listed(taken, show=named)}",
                where=where,
                fix="rename them, or name the new ones otherwise, such as with --prefix luthier.",
            )
