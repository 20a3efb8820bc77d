"""A task: where its rows are, how a row is asked, and how answers are judged."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from luthier.core.row import Row
from luthier.core.seeds import fingerprint
from luthier.prompts.jinja import Jinja, columns_of
from luthier.records.evaluation import TemplateStamp
from luthier.tasks.item import Answer, Document
from luthier.tasks.needs import Need
from luthier.tasks.render import TextField
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

    It is data, not code, and renders the same wherever it is trained, asked or measured. One that
    names no rows is a template, for the rows of others.
    """

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*$")
    """Such as glue/rte; that of a file is its own name where none is given."""
    about: str = ""
    """What it asks, in a few words."""
    version: int = 1
    """Rises when a change of this definition changes scores."""
    format: str = "own"
    """Whose wording and scoring this follows."""
    cluster: str = ""
    """Tasks of one cluster ask for the same kind of answer, such as nli or translate."""
    files: Annotated[
        tuple[FileSource, ...], BeforeValidator(lambda v: [v] if isinstance(v, Mapping) else v)
    ] = ()
    """Files, the first ones that are there being used."""
    hub: HubSource | None = None
    """Where the rows are on the Hub. Without files and hub, rows come from data.source."""
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
    """cut: a prompt that does not fit loses the beginning of its text, the system text first, but
    not the token that begins texts (BOS). fewer-shots: it loses its last shots."""
    id: Jinja | None = None
    """What identifies a row; None: its place in the split."""
    group: Jinja | None = None
    """Rows of one group are one observation: the passage they are about."""
    question_id: Jinja | None = None
    """What several rows are scored as: the question they answer."""
    trailing_whitespace: Literal["strip", "keep"] = "strip"
    """White space at the end of every text. strip: it is removed, so that a block of YAML and a
    line of YAML mean the same, and so that a model never has to produce blanks. keep: texts are
    used as they are written, as the scores of published benchmarks demand."""
    system: Jinja = ""
    """The system message; in plain text it stands before everything (elsewhere description)."""
    prompt: Jinja = ""
    """The question (elsewhere input)."""
    delimiter: str = " "
    """What stands between a question and its answer in plain text."""
    separator: str = "\n\n"
    """What stands between worked examples in plain text."""
    max_new_tokens: int = Field(default=32, ge=1)
    """The longest answer, in tokens, where one is generated: always for a run's own data, whatever
    the kind."""
    metrics: Annotated[tuple[Annotated[str, AfterValidator(_known_metric)], ...], OneOrMore] = (
        Field(min_length=1)
    )
    """How answers are measured; the first metric decides, and all of them count where a suite takes
    the mean of a task's metrics."""
    submission: Submission | None = None
    """How predictions are handed in to the leaderboard."""

    takes_shots: ClassVar[bool] = True
    takes_turns: ClassVar[bool] = True
    """Whether a question can be a turn of a conversation."""
    is_trainable: ClassVar[bool] = True
    """Whether rows are questions with answers, as the examples of a run are."""
    advice: ClassVar[str] = "measure choices with acc, and ratings with pearson"
    _folder: Path | None = PrivateAttr(default=None)
    _NOT_ASKED: ClassVar[frozenset[str]] = frozenset({
        "about", "cluster", "version", "files", "hub", "split", "shots", "max_new_tokens",
        "metrics", "submission", "name",
    })  # fmt: skip
    _UNCHANGED: ClassVar[Mapping[str, Any]] = {"examples": (), "trailing_whitespace": "keep"}
    """Fields, and the value with which each changes nothing of what is asked, so that tasks that do
    not use them keep their fingerprints."""
    _STORED_AS: ClassVar[Mapping[str, str]] = {"system": "description"}
    """What fingerprints call a field, where that is its former name."""

    @model_validator(mode="after")
    def _shows_other_rows(self) -> Self:
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
        return frozenset({"answers", "choices", "labels", "likelihoods"})

    @property
    def label_words(self) -> Mapping[str, str]:
        """From every label to the words that stand for it, for people; empty for open answers."""
        return {}

    @property
    def gives_written(self) -> frozenset[Need]:
        """What answers that a model writes come with beside their text, by the texts of the task.

        Choices are the words that are written, which are labels only where both are the same.
        """
        words = self.label_words
        labels: set[Need] = {"labels"} if words and all(k == v for k, v in words.items()) else set()
        return self.gives & frozenset[Need]({"choices"}) | labels

    @property
    def has_rows(self) -> bool:
        """Whether the task says where its rows are; one that does not is a template."""
        return bool(self.files) or self.hub is not None

    @property
    def columns(self) -> frozenset[str]:
        """The columns that a question and its answer need."""
        return columns_of(self.snippets.values())

    @property
    def snippets(self) -> Mapping[str, str]:
        """The texts that every row needs, by their fields."""
        names = ("system", "prompt", "id", "group", "question_id")
        return {name: text for name in names if (text := getattr(self, name))}

    @property
    def stamp(self) -> TemplateStamp:
        """The name of the task, and a fingerprint of everything that decides what is asked."""
        unused = {name for name, value in self._UNCHANGED.items() if getattr(self, name) == value}
        content = self.model_dump(mode="json", exclude={*self._NOT_ASKED, *unused})
        stored = {self._STORED_AS.get(name, name): value for name, value in content.items()}
        return TemplateStamp(id=self.name, hash=fingerprint(json.dumps(stored, sort_keys=True)))

    @property
    def after_system(self) -> str:
        """What stands between the system message and the rest in plain text."""
        return self.separator if self.trailing_whitespace == "strip" else ""

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

    def worked_example(self, row: Row, place: int, source_labels: Mapping[str, str]) -> Document:
        """What a row asks, and its right answer; a worked example needs no name but its place.

        Args:
            row: the row.
            place: of the row in its split, from 0.
            source_labels: from the source's labels to the task's.

        Raises:
            DataError: a column is missing, a label has no words, a text cannot be made, or the
                question or an answer is empty.
        """
        return self._rendered(row, source_labels, answered=True, id=str(place))

    def document(
        self, row: Row, place: int, source_labels: Mapping[str, str], *, answered: bool = True
    ) -> Document:
        """The item that a row stands for, with the task's names for it and what it is part of.

        Args:
            row: the row.
            place: of the row in its split, from 0.
            source_labels: from the source's labels to the task's.
            answered: whether the right answer is needed; if not, it is not looked for.

        Raises:
            DataError: as `worked_example`.
        """
        return self._rendered(
            row,
            source_labels,
            answered=answered,
            id=self._name("id", self.id, row) or str(place),
            group=self._name("group", self.group, row),
            question_id=self.question_id_of(row),
        )

    def _rendered(
        self, row: Row, source_labels: Mapping[str, str], *, answered: bool, **names: Any
    ) -> Document:
        system = self.filled("system", self.system, row) if self.system else ""
        prompt = self.filled("prompt", self.prompt, row) if self.prompt else ""
        references, solution = self.answer(row, source_labels) if answered else Answer(())
        fields = self.fields(row)
        return Document(
            where=row.where,
            system=system,
            prompt=prompt,
            references=references,
            solution=fields["words"][solution] if isinstance(solution, int) else solution,
            **fields,
            **names,
        )

    def question_id_of(self, row: Row) -> str:
        """What a row is scored as a part of; empty where it stands for itself."""
        return self._name("question_id", self.question_id, row)

    @abstractmethod
    def fields(self, row: Row) -> dict[str, Any]:
        """What a document of this kind has beside its prompt, without the right answer."""

    @abstractmethod
    def answer(self, row: Row, source_labels: Mapping[str, str]) -> Answer:
        """The right answer of a document.

        Args:
            row: the row.
            source_labels: from the source's labels to the task's.
        """

    def stripped(self, text: str) -> str:
        """A text of a column as the task has its texts."""
        return text.rstrip() if self.trailing_whitespace == "strip" else text

    def render(self, field: str, source: str, row: Row, **more: Any) -> str:
        """The text of one field for a row, which may be empty; see `TextField.render`."""
        return self._text(field, source).render(row, **more)

    def filled(self, field: str, source: str, row: Row, **more: Any) -> str:
        """The text of one field for a row; see `TextField.filled`."""
        return self._text(field, source).filled(row, **more)

    def _text(self, field: str, source: str) -> TextField:
        return TextField(field, source, self.name, strips=self.trailing_whitespace == "strip")

    def _name(self, field: str, source: str | None, row: Row) -> str:
        """A short text: what the template gives, or a fingerprint where that is a whole passage."""
        text = self.render(field, source, row) if source is not None else ""
        return text if len(text) <= _LONGEST_NAME else fingerprint(text)
