"""The tasks and suites that Luthier brings along, and those in a user's files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from luthier.config.documents import validate_document
from luthier.config.yaml import Document, Location, parse_yaml, read_yaml
from luthier.core.errors import DataError, UsageError
from luthier.core.names import did_you_mean
from luthier.records.run_directory import file_name
from luthier.tasks.candidates import CandidateTask, ContextTask
from luthier.tasks.generation import GenerationTask
from luthier.tasks.likelihood import ChoiceTask, ClozeTask, RatingTask
from luthier.tasks.suite import Suite, renamed
from luthier.tasks.task import Checks, Task
from luthier.tasks.text import TextTask

KINDS: Mapping[str, type[Task]] = {
    "choices": ChoiceTask,
    "candidates": CandidateTask,
    "contexts": ContextTask,
    "rating": RatingTask,
    "cloze": ClozeTask,
    "generate": GenerationTask,
    "text": TextTask,
}
"""The kinds of task, by the name that a task's file gives."""
_FILES = (".yaml", ".yml")


def load_task(name_or_path: str, checks: Checks | None = None) -> Task | Suite:
    """A task or a suite by its name, or from a YAML file of the user.

    Args:
        name_or_path: the name, or the path of a file.
        checks: hold the task against its metrics.

    Raises:
        UsageError: there is none of that name (with a suggestion), or the file cannot be read.
        DataError: the file is not a valid task; every problem with its line.
    """
    library = _library(checks)
    if name_or_path in library:
        return library[name_or_path]
    path = Path(name_or_path)
    if path.suffix in _FILES:
        document = read_yaml(path)
        is_suite = document.values.get("kind") == "suite"
        found = (
            _own_suite(document, path, checks)
            if is_suite
            else _task(document, checks).located(path.parent)
        )
        taken = {file_name(name): name for name in library}.get(file_name(found.name))
        if taken:
            raise DataError(
                f"the name {found.name!r} is that of a task that Luthier brings along"
                if taken == found.name
                else f"the results of {found.name!r} would be the files of the task {taken!r}",
                where=str(path),
                fix="give the task a name of its own",
            )
        return found
    hint = did_you_mean(name_or_path, library, cutoff=0.5)
    raise UsageError(
        f"there is no task {name_or_path!r}",
        fix=f"{hint} list them with 'luthier tasks'; a file of your own ends in .yaml".strip(),
    )


@dataclass(frozen=True, slots=True)
class Selection:
    """What is to be measured.

    Attributes:
        tasks: all tasks, each once.
        suites: the suites that were named.
        named: the names of the tasks that were named themselves, not as part of a suite.
    """

    tasks: tuple[Task, ...]
    suites: tuple[Suite, ...]
    named: frozenset[str]


def select_tasks(names: Sequence[str], checks: Checks | None = None) -> Selection:
    """All tasks that are named, alone or in a suite.

    Args:
        names: of tasks and suites, or paths of files.
        checks: hold each task against its metrics.

    Raises:
        UsageError, DataError: as `load_task`, or no task is named.
    """
    if not names:
        raise UsageError("no task is named", fix="list them with 'luthier tasks'")
    found = [load_task(name, checks) for name in dict.fromkeys(names)]
    alone = {task.name: task for task in found if isinstance(task, Task)}
    suites = {suite.name: suite for suite in found if isinstance(suite, Suite)}
    members = {task.name: task for suite in suites.values() for task in _members(suite, checks)}
    _require_own_names([*found, *members.values()])
    return Selection(
        tasks=tuple((alone | members).values()),
        suites=tuple(suites.values()),
        named=frozenset(alone),
    )


def _require_own_names(chosen: Sequence[Task | Suite]) -> None:
    """Refuse tasks whose results could not be told apart: a file's name has no slash.

    Raises:
        DataError: two are called the same.
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


def task_names() -> tuple[str, ...]:
    """The names of all tasks and suites of the library."""
    return tuple(_library(None))


def _members(suite: Suite, checks: Checks | None) -> Iterator[Task]:
    for name in (*suite.tasks, *suite.diagnostics):
        task = suite.own.get(name) or load_task(name, checks)
        if isinstance(task, Task):
            yield task


def _own_suite(document: Document, path: Path, checks: Checks | None) -> Suite:
    """A suite of the user, whose tasks may be files beside it.

    Raises:
        DataError: it is not valid, or holds another suite.
    """
    own: dict[str, Task] = {}
    names: dict[str, str] = {}
    for name in _listed(document.values):
        is_file = Path(name).suffix in _FILES
        task = load_task(str(path.parent / name) if is_file else name, checks)
        if isinstance(task, Suite):
            raise DataError(
                f"the suite holds the suite {task.name!r}, and is made of tasks",
                where=document.where(("tasks",)),
                fix="name the tasks of that suite",
            )
        if is_file:
            own[task.name], names[name] = task, task.name
    values = renamed(document.values, names)
    return validate_document(Suite, "suite", document, values=values).holding(own)


def _listed(values: Mapping[str, Any]) -> Iterator[str]:
    """The tasks that a suite's document names; what is no list of texts is found wrong later."""
    for field in ("tasks", "diagnostics"):
        if isinstance(listed := values.get(field), list):
            yield from (name for name in listed if isinstance(name, str))


@cache
def _library(checks: Checks | None) -> dict[str, Task | Suite]:
    loaded: dict[str, Task | Suite] = {}
    for resource in _resources(files("luthier.tasks") / "library"):
        document = parse_yaml(resource.read_text(encoding="utf-8"), resource.name)
        for found in _of_document(document, checks):
            loaded[found.name] = found
    return loaded


def _resources(folder: Traversable) -> Iterator[Traversable]:
    for resource in sorted(folder.iterdir(), key=lambda resource: resource.name):
        if resource.is_dir():
            yield from _resources(resource)
        elif resource.name.endswith(_FILES):
            yield resource


def _of_document(document: Document, checks: Checks | None) -> Iterator[Task | Suite]:
    kind = document.values.get("kind")
    if kind == "suite":
        yield validate_document(Suite, "suite", document)
    elif kind == "family":
        yield from _family(document, checks)
    else:
        yield _task(document, checks)


def _family(document: Document, checks: Checks | None) -> Iterator[Task | Suite]:
    """A suite of tasks that differ in one word, in each of its formats.

    ``<member>`` stands for the word, and ``<member words>`` for it with spaces. A format may count
    single members in other categories.
    """
    place = {member: c for c, members in document.values["members"].items() for member in members}
    for name, wording in document.values["formats"].items():
        shared = {**document.values["task"], **wording["task"], "format": wording["format"]}
        categories: dict[str, list[str]] = defaultdict(list)
        for member, category in (place | wording.get("categories", {})).items():
            task = _substituted({"name": f"{name}/<member>", **shared}, member)
            categories[category].append(task["name"])
            yield _task(document, checks, ("task",), task)
        suite = {
            "kind": "suite",
            "name": name,
            "about": document.values["about"],
            "format": wording["format"],
            "weights": document.values["weights"],
            "tasks": [task for tasks in categories.values() for task in tasks],
            "categories": categories,
        }
        yield validate_document(Suite, "suite", document, (), suite)


def _substituted(value: Any, member: str) -> Any:
    if isinstance(value, str):
        words = member.replace("_", " ")
        return value.replace("<member>", member).replace("<member words>", words)
    if isinstance(value, Mapping):
        return {key: _substituted(item, member) for key, item in value.items()}
    if isinstance(value, list):
        return [_substituted(item, member) for item in value]
    return value


def _task(
    document: Document,
    checks: Checks | None,
    at: Location = (),
    values: Mapping[str, Any] | None = None,
) -> Task:
    values = document.values if values is None else values
    kind = str(values.get("kind", ""))
    if kind not in KINDS:
        raise DataError(
            f"{kind!r} is no kind of task" if kind else "the task does not say of which kind it is",
            where=document.where((*at, "kind")),
            fix=f"{did_you_mean(kind, KINDS)} the kinds are {', '.join(KINDS)}".strip(),
        )
    return validate_document(KINDS[kind], "task", document, at, values, {"checks": checks})
