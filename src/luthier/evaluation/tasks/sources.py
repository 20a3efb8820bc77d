"""Where a task's rows come from: the first of its files that is there, or else the Hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from luthier.config.base import Config
from luthier.core.errors import DataError
from luthier.core.given import home, is_there
from luthier.core.names import listed, on_one_line
from luthier.data.hub import open_hub
from luthier.data.problems import RaiseProblems
from luthier.data.readers import Row, read_headless
from luthier.data.sources import candidate_paths, read_file
from luthier.evaluation.tasks.preparations import PREPARATIONS
from luthier.prompts.filters import text_of
from luthier.prompts.template import with_text_keys

_PLACES_NAMED = 8
"""Of the places that were looked in; each is named whole, or it could not be found."""


class MissingDataError(DataError):
    """A task's data is in none of the places where it may be."""


def _known_preparation(name: str) -> str:
    if name not in PREPARATIONS:
        raise ValueError(f"there is no preparation {name!r}; there are {', '.join(PREPARATIONS)}")
    return name


def _with_text_values(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key: text_of(item) for key, item in with_text_keys(value).items()}


TextKeys = BeforeValidator(with_text_keys)
Texts = Annotated[Mapping[str, str], BeforeValidator(_with_text_values)]


class Rows(Config):
    """What is done to the rows of a source, so that all sources of a task look alike."""

    rename: Mapping[str, str] = Field(default_factory=dict)
    """From the source's names of columns to the task's."""
    labels: Texts = Field(default_factory=dict)
    """From the source's labels to the task's, such as 0: entailment."""
    prepare: tuple[Annotated[str, AfterValidator(_known_preparation)], ...] = ()
    """Changes that templates cannot make, by name; see `luthier.evaluation.tasks.preparations`."""

    def arranged(self, rows: Iterator[Row]) -> Iterator[Row]:
        """The rows as the task sees them."""
        arranged: Iterator[Row] = map(self._renamed, rows)
        for name in self.prepare:
            arranged = PREPARATIONS[name](arranged)
        return arranged

    def _renamed(self, row: Row) -> Row:
        values = {self.rename.get(name, name): value for name, value in row.values.items()}
        return Row(values, row.where)


class FileSource(Rows):
    """Files by split."""

    splits: Mapping[str, Annotated[str, Field(min_length=1)]] = Field(min_length=1)
    """A path for each split, also with a further .gz. A relative one is looked for beside the
    task's own file, in the working directory, and under LUTHIER_DATA."""
    columns: tuple[str, ...] = ()
    """The names of the columns of files without a header."""
    separator: Literal["comma", "tab"] = "comma"
    """What stands between the cells of a file without a header."""

    def read(self, path: Path, problems: RaiseProblems) -> Iterator[Row]:
        """The rows of one of the files."""
        if self.columns:
            return self.arranged(read_headless(path, problems, self.columns, self.separator))
        return self.arranged(read_file(path, problems))


class HubSource(Rows):
    """A data set of the Hugging Face Hub."""

    id: str
    """Such as nyu-mll/glue."""
    subset: str | None = None
    """Such as rte."""
    splits: Mapping[str, str] = Field(default_factory=dict)
    """The Hub's name of a split, where it is another than the task's."""


@dataclass(frozen=True, slots=True)
class Rowset:
    """The rows of a split, and the source's labels for the task's."""

    rows: tuple[Row, ...]
    labels: Mapping[str, str]


def read_split(
    task: str,
    split: str,
    files: Sequence[FileSource],
    hub: HubSource | None,
    folder: Path | None = None,
    limit: int | None = None,
) -> Rowset:
    """The rows of a split.

    Args:
        task: what errors call the task.
        split: which one.
        files: looked for in this order.
        hub: asked where there is no file.
        folder: where the task's own file is.
        limit: no more rows than this; None: all.

    Raises:
        MissingDataError: there is no data; it says where it was looked for.
        DataError: rows are not valid.
    """
    for source in files:
        if split in source.splits and (path := _find(source.splits[split], folder)):
            problems = RaiseProblems()
            rows = tuple(islice(source.read(path, problems), limit))
            problems.finish()
            return Rowset(rows, source.labels)
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


def _find(path: str, folder: Path | None) -> Path | None:
    return next(
        (place for place in _places(path, folder) if is_there(place) and place.is_file()), None
    )


def _places(path: str, folder: Path | None) -> list[Path]:
    given = home(path)
    beside = [folder / given] if folder else []
    places = [*beside, *candidate_paths(given)]
    return [Path(f"{place}{end}") for place in places for end in ("", ".gz")]


_unreachable: dict[str, DataError] = {}
"""Hub data sets that could not be had, so that 57 subjects do not wait 57 times."""


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
        f"put the file at {listed(paths, show=on_one_line, last=' or ')} under LUTHIER_DATA"
        if paths
        else ""
    )
    online = f"be online once, or run 'hf download --repo-type dataset {hub.where}'" if hub else ""
    return MissingDataError(
        f"there is no data for the split {split!r} of {task}",
        where="; ".join(looked[:_PLACES_NAMED]) or task,
        fix="; or ".join(filter(None, (files, online))) or f"give {task} files for this split",
    )
