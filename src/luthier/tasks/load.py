"""Loading of tasks and suites, from the built-in library or a user's files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from luthier.config.documents import validate_document
from luthier.config.yaml import Document, parse_yaml, read_yaml
from luthier.core.errors import DataError, UsageError
from luthier.core.names import did_you_mean, listed
from luthier.records.run_directory import file_name
from luthier.tasks.documents import tasks_of
from luthier.tasks.suite import Suite, renamed
from luthier.tasks.task import Checks, Task

TASK_FILES = (".yaml", ".yml")
"""The suffixes of task files."""


def load_task(name_or_path: str, checks: Checks | None = None) -> Task | Suite:
    """Load a task or a suite, by its name or from a user's YAML file.

    Args:
        name_or_path: the name of a task or a suite, or the path of a file. The path may be followed
            by the name of a wording of the file, such as ``tickets.yaml/short``.
        checks: check that the task suits its metrics; None: do not check.

    Raises:
        UsageError: there is no task of that name (with a suggestion), the file cannot be read, or
            it holds several wordings.
        DataError: the file is no valid task; all problems are listed, each with its line.
    """
    found = load_tasks(name_or_path, checks)
    if len(found) > 1:
        wordings = [task.name.rpartition("/")[2] for task in found]
        raise UsageError(
            f"{name_or_path} holds {len(found)} wordings, and one is wanted: {listed(wordings)}",
            fix=f"name one behind the file, such as {name_or_path}/{wordings[0]}",
        )
    return found[0]


def load_tasks(name_or_path: str, checks: Checks | None = None) -> tuple[Task | Suite, ...]:
    """Load a task in all its wordings, or a suite; see `load_task`.

    Raises:
        UsageError, DataError: as `load_task`, except that several wordings are no error.
    """
    library = _library(checks)
    if name_or_path in library:
        return (library[name_or_path],)
    if is_file(name_or_path):
        return _of_file(name_or_path, checks)
    hint = did_you_mean(name_or_path, library, cutoff=0.5)
    lists = "list them with 'luthier tasks', and templates with 'luthier prompt --templates'"
    raise UsageError(
        f"there is no task {name_or_path!r}",
        fix=f"{hint} {lists}; a file of your own ends in .yaml".strip(),
    )


def load_template(name_or_path: str, where: str = "prompt.template") -> Task:
    """Load a task that can serve as the template of a run's examples.

    Args:
        name_or_path: as for `load_task`.
        where: the setting that names the task, for errors.

    Raises:
        UsageError, DataError: as `load_task`, or the task has no questions with answers.
    """
    found = load_task(name_or_path)
    if isinstance(found, Suite):
        raise UsageError(
            f"{name_or_path} is a suite of {len(found.tasks)} tasks, but training needs a single "
            "task",
            where=where,
            fix=f"choose one of them: {listed(found.tasks)}",
        )
    if not found.is_trainable or not found.prompt:
        raise UsageError(
            f"the rows of the task {found.name} are no questions with answers",
            where=where,
            fix="measure it with 'luthier evaluate --tasks', or name another task",
        )
    return found


def stored_task(text: str, where: str) -> Task:
    """The task that a run has stored, which may have the name of a built-in one.

    Args:
        text: the content of the task file.
        where: its path, for errors.

    Raises:
        UsageError, DataError: it is not a valid task, or names sources of rows.
    """
    found = tuple(tasks_of(parse_yaml(text, where), None, "task"))
    if len(found) != 1 or not isinstance(found[0], Task) or found[0].has_rows:
        raise DataError(
            "this is not the task of a run: a single one without files and hub", where=where
        )
    return found[0]


def library_templates() -> tuple[Task, ...]:
    """The built-in templates (tasks without rows), by file and in the order of their wordings."""
    found = _library(None).values()
    return tuple(task for task in found if isinstance(task, Task) and not task.has_rows)


def task_names() -> tuple[str, ...]:
    """The names of all built-in tasks and suites."""
    return tuple(_library(None))


def is_file(name_or_path: str) -> bool:
    """True if this is the path of a task file, optionally followed by the name of a wording."""
    path = Path(name_or_path)
    return path.suffix in TASK_FILES or path.parent.suffix in TASK_FILES


def _of_file(name_or_path: str, checks: Checks | None) -> tuple[Task | Suite, ...]:
    """The tasks of a user's file, or only the wording that is named after it."""
    path = Path(name_or_path)
    path, wording = (path, "") if path.suffix in TASK_FILES else (path.parent, path.name)
    document = read_yaml(path)
    if document.values.get("kind") == "suite":
        found: tuple[Task | Suite, ...] = (_own_suite(document, path, checks),)
    else:
        found = tuple(
            task.located(path.parent) if isinstance(task, Task) else task
            for task in tasks_of(document, checks, _name_of(path))
        )
    for task in found:
        _require_own_name(task, path, _library(checks))
    if not wording:
        return found
    known = {task.name.rpartition("/")[2]: task for task in found}
    if wording not in known or len(found) == 1:
        raise UsageError(
            f"{path} has no wording {wording!r}",
            fix=f"its wordings are {listed(known)}" if len(found) > 1 else f"name {path}",
        )
    return (known[wording],)


def _name_of(path: Path) -> str:
    """The default name of a task, made from the name of its file."""
    return re.sub(r"[^\w.-]+|^[^A-Za-z0-9]+", "-", path.stem).strip("-._") or "task"


def _require_own_name(found: Task | Suite, path: Path, library: Mapping[str, Any]) -> None:
    """Refuse a user's task whose results could be mistaken for those of a built-in task.

    Raises:
        DataError: both have the same name, or their result files would have the same name.
    """
    taken = {file_name(name): name for name in library}.get(file_name(found.name))
    if taken:
        raise DataError(
            f"the name {found.name!r} is that of a task that Luthier brings along"
            if taken == found.name
            else f"the results of {found.name!r} would be the files of the task {taken!r}",
            where=str(path),
            fix="give the task a name of its own",
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """The tasks and suites to evaluate.

    Attributes:
        tasks: all tasks, each once.
        suites: the suites that were named.
        named: the names of the tasks that were named directly, not only through a suite.
    """

    tasks: tuple[Task, ...]
    suites: tuple[Suite, ...]
    named: frozenset[str]


def select_tasks(names: Sequence[str], checks: Checks | None = None) -> Selection:
    """Load all named tasks, and the tasks of all named suites.

    Args:
        names: names of tasks and suites, or paths of files.
        checks: check that each task suits its metrics; None: do not check.

    Raises:
        UsageError, DataError: as `load_tasks`, or no task is named, or a task has no rows.
    """
    if not names:
        raise UsageError("no task is named", fix="list them with 'luthier tasks'")
    found = [task for name in dict.fromkeys(names) for task in load_tasks(name, checks)]
    alone = {task.name: task for task in found if isinstance(task, Task)}
    suites = {suite.name: suite for suite in found if isinstance(suite, Suite)}
    members = {task.name: task for suite in suites.values() for task in _members(suite, checks)}
    _require_own_names([*found, *members.values()])
    _require_rows([*alone.values(), *members.values()])
    return Selection(
        tasks=tuple((alone | members).values()),
        suites=tuple(suites.values()),
        named=frozenset(alone),
    )


def _require_rows(tasks: Sequence[Task]) -> None:
    """Refuse templates, which can be measured only on a run's data.

    Raises:
        UsageError: a task has no rows of its own.
    """
    if bare := next((task.name for task in tasks if not task.has_rows), None):
        raise UsageError(
            f"the task {bare} does not say where its rows are",
            fix="give files or hub in its file, or ask rows of your own in its words: name them "
            "in data.source, and the task's file or name in prompt.template",
        )


def _require_own_names(chosen: Sequence[Task | Suite]) -> None:
    """Refuse different tasks whose result files would have the same name.

    Different names may give one file name, because a file name has no slash.

    Raises:
        DataError: two tasks share a name or a file name.
    """
    known: dict[str, Task | Suite] = {}
    for one in chosen:
        other = known.setdefault(file_name(one.name), one)
        if other != one:
            raise DataError(
                f"two different tasks are called {one.name!r}"
                if other.name == one.name
                else f"the results of {other.name!r} and {one.name!r} would be the same files",
                fix="give each task a name of its own, or measure them one after the other",
            )


def _members(suite: Suite, checks: Checks | None) -> Iterator[Task]:
    for name in (*suite.tasks, *suite.diagnostics):
        task = suite.own.get(name) or load_task(name, checks)
        if isinstance(task, Task):
            yield task


def _own_suite(document: Document, path: Path, checks: Checks | None) -> Suite:
    """A suite from a user's file; its tasks may be files given relative to it.

    Raises:
        DataError: the suite is not valid, or contains another suite.
    """
    own: dict[str, Task] = {}
    names: dict[str, str] = {}
    for name in _listed(document.values):
        in_file = is_file(name)
        task = load_task(str(path.parent / name) if in_file else name, checks)
        if isinstance(task, Suite):
            raise DataError(
                f"the suite holds the suite {task.name!r}, and is made of tasks",
                where=document.where(("tasks",)),
                fix="name the tasks of that suite",
            )
        if in_file:
            own[task.name], names[name] = task, task.name
    values = renamed(document.values, names)
    return validate_document(Suite, "suite", document, values=values).holding(own)


def _listed(values: Mapping[str, Any]) -> Iterator[str]:
    """The tasks that a suite's document names; validation reports malformed lists later."""
    for field in ("tasks", "diagnostics"):
        if isinstance(listed := values.get(field), list):
            yield from (name for name in listed if isinstance(name, str))


@cache
def _library(checks: Checks | None) -> dict[str, Task | Suite]:
    loaded: dict[str, Task | Suite] = {}
    for resource in _resources(files("luthier.tasks") / "library"):
        document = parse_yaml(resource.read_text(encoding="utf-8"), resource.name)
        for found in tasks_of(document, checks, _name_of(Path(resource.name))):
            loaded[found.name] = found
    return loaded


def _resources(folder: Traversable) -> Iterator[Traversable]:
    for resource in sorted(folder.iterdir(), key=lambda resource: resource.name):
        if resource.is_dir():
            yield from _resources(resource)
        elif resource.name.endswith(TASK_FILES):
            yield resource
