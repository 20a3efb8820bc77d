"""A task: where its rows are, how a row is asked, and how answers are judged."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    model_validator,
)

from luthier.config.base import Config, OneOrMore
from luthier.core.errors import DataError
from luthier.core.names import listed
from luthier.core.row import Row
from luthier.core.seeds import fingerprint
from luthier.prompts.sandbox import compile_snippet
from luthier.prompts.template import Jinja
from luthier.records.evaluation import TemplateStamp
from luthier.tasks.item import Document
from luthier.tasks.needs import Need
from luthier.tasks.sources import FileSource, HubSource
from luthier.tasks.submission import Submission

_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Checks:
    """Checks of a task that need to know the metrics, which are above.

    Attributes:
        metric: raises a `ValueError` for the name of no metric.
        task: raises one for a task whose answers lack what its metrics need.
    """

    metric: Callable[[str], None]
    task: Callable[[Task], None]


def _known_metric(name: str, info: ValidationInfo) -> str:
    if checks := _checks(info):
        checks.metric(name)
    return name


def _checks(info: ValidationInfo) -> Checks | None:
    found = (info.context or {}).get("checks")
    return found if isinstance(found, Checks) else None


MetricName = Annotated[str, AfterValidator(_known_metric)]


class Task(Config, ABC):
    """A task: where its rows are, how a row is asked, and how answers are judged.

    Texts are used as they are written: no white space is added or removed, because scores depend
    on it.
    """

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*$")
    """Such as glue/rte."""
    about: str = ""
    """What it asks, in a few words."""
    version: int = 1
    """Rises when a change of this definition changes scores."""
    format: str = "own"
    """Whose wording and scoring this follows."""
    files: Annotated[
        tuple[FileSource, ...], BeforeValidator(lambda v: [v] if isinstance(v, Mapping) else v)
    ] = ()
    """Files, the first ones that are there being used."""
    hub: HubSource | None = None
    """Where the rows are on the Hub."""
    split: str = "test"
    """The split that is measured."""
    shots_from: str = "train"
    """The split that worked examples come from."""
    examples: tuple[Mapping[str, Any], ...] = ()
    """Rows of worked examples that are written here, instead of those of ``shots_from``; they are
    shown in this order."""
    shots: int = Field(default=0, ge=0)
    """How many worked examples there are where nobody says otherwise."""
    draw: Literal["seeded", "first"] = "seeded"
    """seeded: shots are drawn with the run's seed, labels taking turns. first: the first ones."""
    too_long: Literal["cut", "fewer-shots"] = "cut"
    """cut: a prompt that does not fit loses the beginning of its text, the description first, but
    not the token that begins texts (BOS). fewer-shots: it loses its last shots."""
    id: Jinja | None = None
    """What identifies a row; None: its place in the split."""
    group: Jinja | None = None
    """Rows of one group are one observation: the passage they are about."""
    question_id: Jinja | None = None
    """What several rows are scored as: the question they answer."""
    description: str = ""
    """What stands before everything."""
    prompt: Jinja = ""
    """The question."""
    delimiter: str = " "
    """What stands between a question and its answer."""
    separator: str = "\n\n"
    """What stands between worked examples."""
    metrics: Annotated[tuple[Annotated[str, AfterValidator(_known_metric)], ...], OneOrMore] = (
        Field(min_length=1)
    )
    """All of them count where a suite takes the mean of a task's metrics."""
    submission: Submission | None = None
    """How predictions are handed in to the leaderboard."""

    takes_shots: ClassVar[bool] = True
    takes_turns: ClassVar[bool] = True
    """Whether a question can be a turn of a conversation."""
    advice: ClassVar[str] = "measure choices with acc, and ratings with pearson"
    _folder: Path | None = PrivateAttr(default=None)
    _NOT_ASKED: ClassVar[set[str]] = {
        "about", "version", "files", "hub", "split", "shots", "metrics", "submission", "name",
    }  # fmt: skip
    _ADDED: ClassVar[set[str]] = {"examples"}
    """Fields that do not change what is asked while they have their defaults, so that the
    fingerprints of tasks that do not use them stay what they were."""

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if not self.files and self.hub is None:
            raise ValueError("give files, or hub")
        if self.split == self.shots_from and not self.examples:
            raise ValueError(
                f"worked examples would come from the split {self.split!r} that is measured; "
                "name another one in shots_from"
            )
        return self

    @model_validator(mode="after")
    def _suits_its_metrics(self, info: ValidationInfo) -> Self:
        if checks := _checks(info):
            checks.task(self)
        return self

    @property
    def gives(self) -> frozenset[Need]:
        """What samples of this kind come with."""
        return frozenset({"answers", "choices", "likelihoods"})

    @property
    def label_words(self) -> Mapping[str, str]:
        """From every label to the words that stand for it, for people; empty for open answers."""
        return {}

    @property
    def template(self) -> TemplateStamp:
        """The name of the task, and a fingerprint of everything that decides what is asked."""
        unused = {
            name
            for name in self._ADDED
            if getattr(self, name) == type(self).model_fields[name].default
        }
        content = self.model_dump(mode="json", exclude=self._NOT_ASKED | unused)
        return TemplateStamp(id=self.name, hash=fingerprint(json.dumps(content, sort_keys=True)))

    def located(self, folder: Path) -> Self:
        """The task, with ``folder`` as the first place to look for its files."""
        task = self.model_copy()
        task._folder = folder
        return task

    @property
    def folder(self) -> Path | None:
        """The folder of the task's own file."""
        return self._folder

    def overridden(self, values: Mapping[str, Any], checks: Checks | None = None) -> Self:
        """The task with other values of some fields.

        Raises:
            ValidationError: they do not go together, or a metric does not suit the task.
        """
        task = type(self).model_validate(
            self.model_dump() | dict(values), context={"checks": checks}
        )
        task._folder = self._folder
        return task

    def shown(self, shot: Document) -> str:
        """A worked example as it is shown."""
        return f"{shot.prompt}{self.delimiter}{shot.solution}"

    def example(
        self, row: Row, place: int, source_labels: Mapping[str, str], *, answered: bool = True
    ) -> Document:
        """What a row asks, and its right answer.

        Args:
            row: the row.
            place: of the row in its split, from 0; it is the document's name.
            source_labels: from the source's labels to the task's.
            answered: whether the right answer is needed; if not, it is not looked for.

        Raises:
            DataError: a column is missing, a label has no words, or a text cannot be made.
        """
        answer = self.answer_fields(row, source_labels) if answered else {"references": ()}
        return Document(
            id=str(place),
            where=row.where,
            prompt=self.render("prompt", self.prompt, row),
            **self.fields(row, source_labels),
            **answer,
        )

    def document(
        self, row: Row, place: int, source_labels: Mapping[str, str], *, answered: bool = True
    ) -> Document:
        """The item that a row stands for: an example with the task's names for what it is part of.

        Args, Raises: as `example`.
        """
        example = self.example(row, place, source_labels, answered=answered)
        return replace(
            example,
            id=self._name("id", self.id, row) or example.id,
            group=self._name("group", self.group, row),
            question_id=self.question_id_of(row),
        )

    def question_id_of(self, row: Row) -> str:
        """What a row is scored as a part of; empty where it stands for itself."""
        return self._name("question_id", self.question_id, row)

    @abstractmethod
    def fields(self, row: Row, source_labels: Mapping[str, str]) -> dict[str, Any]:
        """What a document of this kind has beside its prompt, without the right answer."""

    @abstractmethod
    def answer_fields(self, row: Row, source_labels: Mapping[str, str]) -> dict[str, Any]:
        """The right answer of a document: ``references`` and ``solution``."""

    def render(self, field: str, source: str, row: Row, **more: str) -> str:
        """The text of one template for a row.

        Raises:
            DataError: a column is missing, or the text cannot be made.
        """
        snippet = compile_snippet(source)
        values = {**row.values, **more}
        if missing := sorted(snippet.columns - values.keys()):
            raise DataError(
                f"{field!r} of the task {self.name!r} needs the column {missing[0]!r}, "
                "which is not there",
                where=row.where,
                fix=f"the columns are {listed(row.values)}; see rename",
            )
        try:
            return snippet.render(values)
        except DataError as error:
            place = f"{row.where}, {field!r} of the task {self.name!r}"
            raise DataError(error.problem, where=place, fix=error.fix) from None

    def _name(self, field: str, source: str | None, row: Row) -> str:
        """A short text: what the template gives, or a fingerprint where that is a whole passage."""
        text = self.render(field, source, row) if source is not None else ""
        return text if len(text) <= _LONGEST_NAME else fingerprint(text)
