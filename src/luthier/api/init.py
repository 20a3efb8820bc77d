"""Draft a task from a file of one's own: `luthier init`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from luthier.api.results import InitResult
from luthier.core.errors import DataError, UsageError
from luthier.core.files import write_atomically
from luthier.core.own_files import require_other_file
from luthier.core.units import counted
from luthier.core.user_files import home, is_there
from luthier.data.draft_task import draft_task
from luthier.data.problems import Dropped, collect_problems
from luthier.data.profile import profile_rows
from luthier.data.sources import find_path, open_source


def init(
    source: str | Path,
    output: str | Path | None = None,
    *,
    label: str | None = None,
    texts: Sequence[str] = (),
    group: str | None = None,
    corrected: bool = False,
    overwrite: bool = False,
) -> InitResult:
    """A task drafted from a file or folder of rows, with the profile of its columns.

    Args:
        source: the file or folder.
        output: the YAML file to write; None: nothing is written.
        label: the column of the right answer; None: guess.
        texts: the columns of the question; empty: guess.
        group: the column whose rows belong together; empty: none; None: guess.
        corrected: correct probable misspellings of labels.
        overwrite: replace an existing ``output``.

    Raises:
        DataError: the file is unreadable, or no task fits its rows.
        UsageError: a named column does not exist, or ``output`` exists or is the
            file itself.

    Example:
        >>> import luthier
        >>> draft = luthier.init("tickets.csv", "drafted.yaml")
        >>> draft
        <InitResult: 240 rows, 3 columns: ticket → team (5 classes).>
    """
    path = Path(output) if output is not None else None
    if path is not None and not overwrite and is_there(path):
        raise UsageError(
            "the file exists already",
            where=str(path),
            fix="give another name with -o, or replace it with --force",
        )
    given = str(source)
    problems = collect_problems("drop")
    opened = open_source(given, problems)
    found = find_path(given)
    if path is not None:
        require_other_file(path, found)
    if found is None:
        raise UsageError(
            "a task is drafted from a file or folder, not from a data set of the Hub",
            where=given,
            fix="download it first, or write a task: docs/tasks.md",
        )
    rows = tuple(opened.read_all())
    profile = profile_rows(
        rows,
        label=label,
        texts=texts,
        group=group,
        notes=(*problems.notes, *_left_out(problems.finish())),
    )
    file = _as_named_beside(given, path or Path("task.yaml"))
    try:
        draft = draft_task(opened.name, rows, profile, file=file, corrected=corrected)
    except DataError as error:
        fix = "; ".join((*profile.notes, error.fix))
        raise DataError(error.problem, where=given, fix=fix) from None
    if path is not None:
        write_atomically(path, draft.text)
    return InitResult(draft.profile, draft.text, draft.rows)


def _left_out(dropped: Sequence[Dropped]) -> Iterator[str]:
    """A sentence on rows that cannot be read."""
    if dropped:
        yield (
            f"{counted(len(dropped), 'row')} left out, such as {dropped[0].where} "
            f"({dropped[0].reason}): correct it, or adapt with data.invalid=drop"
        )


def _as_named_beside(source: str, output: Path) -> str:
    """The path of a source as a task's file in the folder of ``output`` names it."""
    path = home(source)
    if path.is_absolute() or not is_there(path):
        return str(path)
    return os.path.relpath(path, output.parent)
