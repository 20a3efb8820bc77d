"""Rows of tasks, from the first existing file of a task or from the Hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from luthier.config.data import DataConfig
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.core.example import Example
from luthier.core.names import listed, on_one_line
from luthier.core.row import Row
from luthier.core.user_files import home, is_there
from luthier.data.delimited import read_headless
from luthier.data.divide import divide
from luthier.data.hub import open_hub
from luthier.data.problems import Problems, RaiseProblems
from luthier.data.row_shapes import Table
from luthier.data.sources import candidate_paths, open_source, read_file
from luthier.data.splits import SPLITS, with_unique_ids
from luthier.tasks.load import TASK_FILES, is_file, load_template, task_names
from luthier.tasks.sources import WHOLE, FileSource, HubSource
from luthier.tasks.task import Task

_PLACES_NAMED = 8
"""Maximum number of searched locations in a message; each is given in full."""


class MissingDataError(DataError):
    """A task's data was found in none of its locations."""


@dataclass(frozen=True, slots=True)
class Rowset:
    """The rows of a split.

    Attributes:
        rows: the rows.
        labels: the task's labels, by the source's labels.
        notes: sentences on guesses with which a file was read.
    """

    rows: tuple[Row, ...]
    labels: Mapping[str, str]
    notes: tuple[str, ...] = ()


def read_task(
    task: Task,
    split: str,
    limit: int | None = None,
    problems: Problems | None = None,
    *,
    seed: int = 0,
) -> Rowset:
    """The rows of a split of a task.

    Args:
        task: the task.
        split: the split's name.
        limit: maximum number of rows; None: all.
        problems: receives errors in single rows; None: they are raised.
        seed: the seed of the division, for a task whose file has all rows.

    Raises:
        DataError: they are missing or invalid.
    """
    if split in SPLITS and has_whole_file(task):
        rowset = _divided(task, split, seed)
        return replace(rowset, rows=rowset.rows[:limit])
    return read_split(task.name, split, task.files, task.hub, task.folder, limit, problems)


def has_whole_file(task: Task) -> bool:
    """Whether a task names one file with all rows, which is divided into splits."""
    return any(WHOLE in source.splits for source in task.files)


def _divided(task: Task, name: str, seed: int) -> Rowset:
    """The rows of a split of a task whose file has all rows.

    They are divided as those of a run with the same seed and the default fractions.
    """
    rowset = read_split(task.name, WHOLE, task.files, task.hub, task.folder)
    table = Table(task, rowset.labels)
    rows = {row.where: row for row in rowset.rows}
    examples = with_unique_ids(
        example for row in rowset.rows if (example := table.convert(row)).weight
    )
    file = next(source.splits[WHOLE] for source in task.files if WHOLE in source.splits)
    parts = divide(examples, {}, DataConfig(source=file), seed, Console(quiet=True))
    own: dict[str, Sequence[Example]] = {
        "train": parts.train,
        "validation": parts.validation,
        "test": parts.test,
    }
    return replace(rowset, rows=tuple(rows[example.where] for example in own[name]))


def read_shots(task: Task, limit: int, *, seed: int = 0) -> Rowset:
    """The rows for the shots of a task; the arguments are those of `read_task`.

    Raises:
        DataError: they are missing or invalid.
    """
    if not task.examples:
        return read_task(task, task.shots_from, limit, seed=seed)
    where = f"examples of the task {task.name}"
    rows = (Row(dict(v), f"{where}, {n}") for n, v in enumerate(task.examples, start=1))
    return Rowset(tuple(rows), {})


def task_called(source: str) -> Task | None:
    """The task that a data source names, in the library or in a file; None if it is not a task.

    A file or folder of that name in the working directory takes precedence.

    Raises:
        UsageError: it is a suite of several tasks, or its rows cannot be trained on.
        DataError: the file is not a valid task.
    """
    is_data = Path(source).suffix not in TASK_FILES and is_there(home(source))
    if is_data or not (is_file(source) or source in task_names()):
        return None
    found = load_template(source, "data.source")
    if found.has_rows:
        return found
    raise UsageError(
        f"the task {found.name} does not say where its rows are",
        where="data.source",
        fix=f"name your rows beside it, as in 'luthier adapt {source} rows.csv', or with "
        f"data.source and prompt.template={source}; or give it files or hub",
    )


def task_parts(task: Task, problems: Problems) -> dict[str, Callable[[], Iterator[Row]]]:
    """The rows of a task by split.

    The measured split is the test; shots come from the training split. If both are the same, or the
    task's file has all rows, it is divided.

    Args:
        task: the task.
        problems: receives errors in single rows.
    """

    def part(split: str) -> Callable[[], Iterator[Row]]:
        return lambda: iter(read_task(task, split, problems=problems).rows)

    if has_whole_file(task):
        return {WHOLE: part(WHOLE)}
    if task.split == task.shots_from:
        return {WHOLE: part(task.split)}
    return {"train": part(task.shots_from), "test": part(task.split)}


def task_labels(task: Task) -> Mapping[str, str]:
    """The map from the labels of a task's source to the task's own."""
    return read_task(task, WHOLE if has_whole_file(task) else task.split, 1).labels


def _rows(source: FileSource, path: Path, problems: Problems) -> Iterator[Row]:
    """The rows of one of a source's files."""
    if source.columns:
        return source.arranged(read_headless(path, problems, source.columns, source.separator))
    if path.is_dir():
        return source.arranged(open_source(str(path), problems).read_all())
    return source.arranged(read_file(path, problems))


def read_split(
    task: str,
    split: str,
    files: Sequence[FileSource],
    hub: HubSource | None,
    folder: Path | None = None,
    limit: int | None = None,
    problems: Problems | None = None,
) -> Rowset:
    """The rows of a split.

    Args:
        task: the task's name in errors.
        split: the split's name.
        files: candidate files, in order of preference.
        hub: the Hub source if no file exists.
        folder: the folder of the task's own file.
        limit: maximum number of rows; None: all.
        problems: receives errors in single rows; None: they are raised.

    Raises:
        MissingDataError: there is no data; names the searched locations.
        DataError: rows are invalid.
    """
    for source in files:
        if split in source.splits and (
            path := _find(source.splits[split], folder, may_be_folder=split == WHOLE)
        ):
            collected = problems or RaiseProblems()
            rows = tuple(islice(_rows(source, path, collected), limit))
            if problems is None:
                collected.finish()
            return Rowset(rows, source.labels, collected.notes)
    paths = [source.splits[split] for source in files if split in source.splits]
    if hub is None:
        raise _missing(task, split, paths, folder, None)
    try:
        parts = _hub_splits(hub.id, hub.subset)
    except DataError as error:
        raise _missing(task, split, paths, folder, error) from None
    theirs = hub.splits.get(split, split)
    if theirs not in parts:
        raise MissingDataError(
            f"{task} has no split {split!r} on the Hub",
            where=hub.id,
            fix=f"it has {listed(parts)}",
        )
    return Rowset(tuple(islice(hub.arranged(parts[theirs]()), limit)), hub.labels)


def _find(path: str, folder: Path | None, *, may_be_folder: bool) -> Path | None:
    there = filter(is_there, _places(path, folder))
    return next((place for place in there if may_be_folder or place.is_file()), None)


def _places(path: str, folder: Path | None) -> list[Path]:
    given = home(path)
    beside = [folder / given] if folder else []
    places = [*beside, *candidate_paths(given)]
    return [Path(f"{place}{end}") for place in places for end in ("", ".gz")]


_unreachable: dict[str, DataError] = {}
"""Hub data sets that failed, so that 57 subjects do not wait 57 times."""


@cache
def _hub_splits(name: str, subset: str | None) -> Mapping[str, Any]:
    if name in _unreachable:
        raise _unreachable[name]
    try:
        return open_hub(name, subset)
    except DataError as error:
        _unreachable[name] = error
        raise


def _missing(
    task: str, split: str, paths: Sequence[str], folder: Path | None, hub: DataError | None
) -> MissingDataError:
    looked = [str(place) for path in paths for place in _places(path, folder)[::2]]
    if hub:
        looked.append(f"the Hub ({hub.where}: {hub.problem})")
    files = (
        f"store the file at {listed(paths, show=on_one_line, last=' or ')} under LUTHIER_DATA"
        if paths
        else ""
    )
    online = f"go online once, or run 'hf download --repo-type dataset {hub.where}'" if hub else ""
    return MissingDataError(
        f"found no data for the split {split!r} of {task}",
        where="; ".join(looked[:_PLACES_NAMED]) or task,
        fix="; or ".join(filter(None, (files, online))) or f"add files for this split to {task}",
    )
