"""The tasks of a YAML document: a task, its prompt variants (wordings), a family, or a suite."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from luthier.config.base import suggested_key
from luthier.config.documents import validate_document
from luthier.config.yaml import Document, Location
from luthier.core.errors import DataError
from luthier.core.names import did_you_mean
from luthier.tasks.candidates import CandidateTask, ContextTask
from luthier.tasks.generation import GenerationTask
from luthier.tasks.likelihood import ChoiceTask, ClozeTask, RatingTask
from luthier.tasks.suite import Suite
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
"""The classes of tasks, by the ``kind`` that a task's file gives."""
_SIGNS: Mapping[str, str] = {
    "choices": "choices",
    "candidates": "candidates",
    "contexts": "contexts",
    "scale": "rating",
    "text": "text",
    "completion": "generate",
    "references": "generate",
}
"""The kind of a task that gives none, by a field that only this kind has."""
WORDINGS = "wordings"
"""The field that maps each prompt variant (wording) to the fields that it adds."""


def tasks_of(document: Document, checks: Checks | None, name: str) -> Iterator[Task | Suite]:
    """The tasks of a document.

    Args:
        document: the document.
        checks: check that each task suits its metrics; None: do not check.
        name: the name of a task whose document gives none.

    Raises:
        DataError: a task is not valid; all problems are listed, each with its line.
    """
    kind = document.values.get("kind")
    if kind == "suite":
        yield validate_document(Suite, "suite", document)
    elif kind == "family":
        yield from _family(document, checks)
    elif WORDINGS in document.values:
        yield from _wordings(document, checks, name)
    else:
        yield _task(document, checks, values={"name": name, **document.values})


def _wordings(document: Document, checks: Checks | None, name: str) -> Iterator[Task]:
    """One task for each wording, named ``task/wording``.

    Raises:
        DataError: ``wordings`` is no mapping from names to fields, or a task is not valid.
    """
    wordings = document.values[WORDINGS]
    is_valid = isinstance(wordings, Mapping) and wordings
    if not is_valid or not all(isinstance(added, Mapping) for added in wordings.values()):
        raise DataError(
            "wordings is no mapping from the name of each wording to the fields that it adds",
            where=document.where((WORDINGS,)),
            fix="write such as wordings: {short: {prompt: …}, long: {prompt: …}}",
        )
    for wording in wordings:
        own = document.laid_over(WORDINGS, wording)
        called = f"{document.values.get('name', name)}/{wording}"
        yield _task(own, checks, values={**own.values, "name": called})


def _family(document: Document, checks: Checks | None) -> Iterator[Task | Suite]:
    """The tasks and the suite of each format of a family.

    The tasks of a family differ in one word. ``<member>`` stands for this word, and
    ``<member words>`` for the word with spaces in place of underscores. A format may put single
    members into other categories.
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
    given = document.values if values is None else values
    shown = next((kind for sign, kind in _SIGNS.items() if sign in given), "")
    kind = str(given.get("kind", shown))
    if kind not in KINDS:
        raise _without_kind(document, at, given, kind)
    noun = f"task of the kind {kind}"
    return validate_document(
        KINDS[kind], noun, document, at, {**given, "kind": kind}, {"checks": checks}
    )


def _without_kind(
    document: Document, at: Location, values: Mapping[str, Any], kind: str
) -> DataError:
    """The error for a task of no known kind, with a hint.

    The cause may be a misspelt field, because some fields determine the kind.
    """
    if kind:
        problem, hint, named = f"{kind!r} is no kind of task", did_you_mean(kind, KINDS), "kind"
    else:
        fields = [field for known in KINDS.values() for field in known.model_fields.items()]
        helps = {name: field.description or "" for name, field in fields}
        named = next((key for key in map(str, values) if key not in helps), "kind")
        hint = suggested_key(named, helps) if named in values else ""
        problem = "the task does not say of which kind it is"
        problem += f", and has the unknown key {named!r}" if hint else ""
    return DataError(
        problem,
        where=document.where((*at, named)),
        fix=f"{hint} the kinds are {', '.join(KINDS)}".strip(),
    )
