"""Files of predictions: written whole or not at all, and continued after an interruption.

While a prediction runs, its answers and the unfinished files are in a hidden folder beside the
output, which must be writable anyway; the run directory, which may be somebody else's, is only
read. The folder is removed when the output is complete.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from luthier.context.run_predictor import RunPredictor
from luthier.core.cache import one_at_a_time
from luthier.core.console import Console
from luthier.core.disk import storing
from luthier.core.errors import UsageError
from luthier.core.files import new_file
from luthier.core.folders import refuse_links, remove_folder
from luthier.core.own_files import is_remembered, remember, require_other_file
from luthier.core.seeds import fingerprint
from luthier.data.problems import Dropped, count_reasons
from luthier.data.writers import JsonlWriter, RowWriter, WriterOf, writer_of
from luthier.records.prediction import Prediction
from luthier.records.result_cache import ResultCache
from luthier.workflows.predict import (
    AddedColumns,
    Answered,
    Chunk,
    Rejected,
    RowSource,
    answer_source,
    survey,
)

_REASONS_NAMED = 5


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a prediction.

    Attributes:
        abstain: the probability below which an answer is left out; None: all are given.
        is_strict: whether the first row that cannot be answered is an error.
        prefix: the text before the names of the added columns.
        overwrites: whether existing files are overwritten, whoever made them.
    """

    abstain: float | None = None
    is_strict: bool = False
    prefix: str = ""
    overwrites: bool = False


def predict_to_file(
    predictor: RunPredictor, source: RowSource, out: Path, options: Options, console: Console
) -> Prediction:
    """Answer all rows of a source, and write them with their answers to a file.

    Killed and called again, it continues, and the file is the same as without the interruption.

    Args:
        predictor: the run.
        source: the rows.
        out: the file; its suffix decides its format.
        options: further options.
        console: shows progress.

    Raises:
        UsageError: the file is somebody else's, its format is unknown, or a column exists already.
        DataError: there are no rows or a column is missing in all of them, or a row cannot be
            answered and ``options.is_strict`` is set.
        ResourceError: the file cannot be written.
    """
    started = time.monotonic()
    writer, added = writer_of(out), AddedColumns.of(predictor, options.abstain, options.prefix)
    targets = Targets.of(predictor, source, out)
    targets.require_writable(source.path, overwrites=options.overwrites)
    found = survey(predictor, source, console)
    added.require_new(found.columns, source.name)
    work = out.with_name(f".{out.name}.luthier")
    _require_no_links(work)
    parts = work / "parts"
    with one_at_a_time(parts, console):
        model = predictor.load()
        chunks = answer_source(
            predictor, model, source, console,
            rows=found.rows,
            is_strict=options.is_strict,
            cache_of=lambda number: ResultCache(parts / f"{number:06}.answers.jsonl"),
        )  # fmt: skip
        with new_file(parts / "rows", 0) as rows, new_file(parts / "rejected", 0) as rejected:
            table = Table(rows, writer, found.columns, added)
            told = write_chunks(chunks, table, JsonlWriter(rejected, ()))
        targets.publish(parts / "rows", parts / "rejected" if told else None)
        with storing(work):
            remove_folder(work)
    tell_rejected(told, console)
    return Prediction(
        run=str(predictor.run.path),
        rows=table.count,
        rejected=len(told),
        abstained=table.abstained,
        seconds=time.monotonic() - started,
        file=str(out),
        rejected_file=str(targets.rejected) if told else "",
    )


def _require_no_links(work: Path) -> None:
    """Check that the answers of an interrupted call lie where they seem to lie.

    Raises:
        UsageError: their folder is a link.
        DataError: it contains one.
    """
    if work.is_symlink():
        raise UsageError(
            "this is a link, and answers are not kept behind it",
            where=str(work),
            fix="remove it, or name another file with -o",
        )
    if work.is_dir():
        refuse_links(work)


def predict_to_stream(
    predictor: RunPredictor,
    source: RowSource,
    stream: IO[bytes],
    writer: WriterOf,
    options: Options,
    console: Console,
) -> Prediction:
    """Answer all rows of a source, and write them to a stream as they come.

    Rows that cannot be answered are only named. Arguments and errors as in `predict_to_file`.
    """
    started = time.monotonic()
    added = AddedColumns.of(predictor, options.abstain, options.prefix)
    found = survey(predictor, source, console)
    added.require_new(found.columns, source.name)
    model = predictor.load()
    chunks = answer_source(
        predictor, model, source, console, rows=found.rows, is_strict=options.is_strict
    )
    table = Table(stream, writer, found.columns, added)
    told = write_chunks(chunks, table, None)
    tell_rejected(told, console)
    return Prediction(
        run=str(predictor.run.path),
        rows=table.count,
        rejected=len(told),
        abstained=table.abstained,
        seconds=time.monotonic() - started,
    )


class Table:
    """Answered rows in a file: the columns of the rows, then those of the answers.

    Args:
        file: the file.
        writer: the writer of its format.
        columns: the columns of the rows.
        added: the columns of the answers.

    Attributes:
        count: the number of rows.
        abstained: the number of answers that were left out.
    """

    def __init__(
        self, file: IO[bytes], writer: WriterOf, columns: Sequence[str], added: AddedColumns
    ) -> None:
        self._added = added
        self._writer = writer(file, (*columns, *added.names))
        self.count = self.abstained = 0

    def add(self, answered: Sequence[Answered]) -> None:
        """Write further rows."""
        self._writer.write([{**row.values, **self._added.values(a)} for row, a in answered])
        self.count += len(answered)
        self.abstained += sum(self._added.abstains(answer) for _, answer in answered)

    def finish(self) -> None:
        """Complete the file."""
        self._writer.finish()


def write_chunks(
    chunks: Iterable[Chunk], table: Table, rejected: RowWriter | None
) -> list[Dropped]:
    """Write the outcome of all rows as it comes.

    Returns:
        The rows that could not be answered, without their values.
    """
    told: list[Dropped] = []
    for chunk in chunks:
        table.add(chunk.answered)
        if rejected and chunk.rejected:
            rejected.write([_told(each) for each in chunk.rejected])
        told += [Dropped(each.where, each.reason) for each in chunk.rejected]
    table.finish()
    return told


def _told(rejected: Rejected) -> dict[str, object]:
    return {"where": rejected.where, "reason": rejected.reason, "values": rejected.values}


def tell_rejected(rejected: list[Dropped], console: Console) -> None:
    """Name the rows that could not be answered, one for each of the most frequent reasons."""
    reasons = count_reasons(rejected)
    for reason in reasons[:_REASONS_NAMED]:
        many = f"{reason.count:,} rows" if reason.count > 1 else "1 row"
        such = "such as " if reason.count > 1 else ""
        console.warn(f"{many} not answered: {reason.reason} ({such}{reason.where})")
    if others := reasons[_REASONS_NAMED:]:
        rest = sum(reason.count for reason in others)
        console.warn(f"{rest:,} more rows not answered, for {len(others):,} other reasons")


@dataclass(frozen=True, slots=True)
class Targets:
    """The files that a prediction writes.

    Attributes:
        rows: the answered rows.
        rejected: the other rows, if there are any.
        command: the identity of the command; the same one may overwrite its own files.
    """

    rows: Path
    rejected: Path
    command: str

    @classmethod
    def of(cls, predictor: RunPredictor, source: RowSource, out: Path) -> Targets:
        """The files of a prediction to ``out``."""
        rejected = out.with_name(f"{out.stem}.rejected.jsonl")
        identity = (str(predictor.run.path.resolve()), source.name, str(out.resolve()))
        return cls(out, rejected, fingerprint("predict", *identity))

    def require_writable(self, rows: Path | None, *, overwrites: bool) -> None:
        """Refuse to overwrite the rows, and files that the same command did not write.

        Args:
            rows: the file of the rows to answer; None: they are in no file.
            overwrites: whether existing files are overwritten, whoever made them.

        Raises:
            UsageError: a place is the file of the rows, or no file; or a file exists already,
                and was not written by this command or was changed.
        """
        for path in (self.rows, self.rejected):
            require_other_file(path, rows)
        for path in () if overwrites else (self.rows, self.rejected):
            if (path.exists() or path.is_symlink()) and not is_remembered(path, self.command):
                raise UsageError(
                    "this file exists, and was not written by the same command",
                    where=str(path),
                    fix="name another file with -o, or overwrite it with --force",
                )

    def publish(self, rows: Path, rejected: Path | None) -> None:
        """Move the complete files to their places.

        Raises:
            ResourceError: a file cannot be moved.
        """
        for made, target in ((rejected, self.rejected), (rows, self.rows)):
            with storing(target):
                if made is None:
                    target.unlink(missing_ok=True)  # of an earlier call of the same command
                else:
                    remember(made, self.command)
                    made.replace(target)
