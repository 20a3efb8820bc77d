"""A task in the place of a template: its rows become examples that are trained and asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from luthier.core.errors import UsageError
from luthier.core.example import Example, Message
from luthier.core.row import Row
from luthier.prompts.sandbox import compile_snippet
from luthier.tasks.candidates import CandidateTask
from luthier.tasks.generation import GenerationTask
from luthier.tasks.item import Document
from luthier.tasks.likelihood import ChoiceTask, ClozeTask
from luthier.tasks.task import Task

_ANSWERED = (ChoiceTask, CandidateTask, ClozeTask, GenerationTask)
"""The kinds whose rows are a question with its answer."""
_CHOICE_TOKENS = 32
"""The longest answer where it is one of choices."""


@dataclass(frozen=True, slots=True)
class TaskWording:
    """How a task's rows become examples; it has what a `luthier.prompts.template.Template` has.

    Attributes:
        task: the task.
        labels: from the labels of its source to its own.
    """

    task: Task
    labels: Mapping[str, str]

    @classmethod
    def of(cls, task: Task, labels: Mapping[str, str]) -> TaskWording:
        """The wording of a task.

        Raises:
            UsageError: its rows are no questions with answers.
        """
        if not isinstance(task, _ANSWERED):
            raise UsageError(
                f"the rows of the task {task.name} are no questions with answers",
                where="data.source",
                fix="measure it with 'luthier evaluate --tasks', or name another task",
            )
        return cls(task, labels)

    @property
    def name(self) -> str:
        """That of the task."""
        return self.task.name

    @property
    def hash(self) -> str:
        """A fingerprint of everything that decides what is asked."""
        return self.task.template.hash

    @property
    def metrics(self) -> tuple[str, ...]:
        """How generated answers are measured: the task's own metrics may need likelihoods."""
        has_choices = isinstance(self.task, ChoiceTask | CandidateTask)
        return ("accuracy",) if has_choices else ("exact_match",)

    @property
    def max_new_tokens(self) -> int:
        """The longest answer."""
        task = self.task
        return task.max_new_tokens if isinstance(task, GenerationTask) else _CHOICE_TOKENS

    @property
    def choices(self) -> Mapping[str, str]:
        """From every label to its words; empty where there are no labels for all rows."""
        return self.task.choices if isinstance(self.task, ChoiceTask) else {}

    @property
    def columns(self) -> frozenset[str]:
        """The columns that the texts of the task name."""
        names = ("prompt", "label", "completion", "group", "question_id", "id")
        found = (getattr(self.task, name, None) for name in names)
        sources = [*(text for text in found if text), *self.choices.values()]
        return frozenset().union(*(compile_snippet(source).columns for source in sources))

    def render(
        self,
        row: Mapping[str, Any],
        *,
        where: str,
        id: str,  # noqa: A002 - the name of the field that it fills
        group: str = "",
    ) -> Example:
        """The example that a row stands for; see `luthier.prompts.template.Template.render`.

        Raises:
            DataError: a column is missing, a label has no words, or a text cannot be made.
        """
        document = self.task.document(Row(dict(row), where), 0, self.labels)
        description = self.task.description.strip()
        system = (Message("system", description),) if description else ()
        return Example(
            id=id,
            messages=(*system, Message("user", document.prompt)),
            references=_accepted(document),
            choices=tuple(dict.fromkeys(document.words)) if document.choices else (),
            group=group or document.group or document.question_id,
            where=where,
            answer=_trained(document),
        )


def _accepted(document: Document) -> tuple[str, ...]:
    """The words of the right choice, or all accepted answers."""
    return (document.solution,) if document.choices else document.references


def _trained(document: Document) -> Message | None:
    """The turn that is trained, where it is more than the first accepted answer: its reasoning."""
    first = next(iter(_accepted(document)), "")
    return None if document.solution == first else Message("assistant", document.solution)
