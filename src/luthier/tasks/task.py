"""The base class of tasks: source of rows, prompt, and metrics."""

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
from luthier.core.example import Example, Message
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
    """Checks of a task against its metrics.

    They are passed in because metrics belong to a higher layer, which this one may not import.

    Attributes:
        metric: raises a `ValueError` if no metric has the given name.
        task: raises a `ValueError` if the task's answers lack a property that its metrics need.
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


def _file_sources(value: Any) -> Any:
    """A list of sources; a single one needs no brackets, and a path stands for its splits."""
    sources = [value] if isinstance(value, str | Mapping) else value
    if not isinstance(sources, list | tuple):
        return sources
    return [{"splits": source} if isinstance(source, str) else source for source in sources]


MetricName = Annotated[str, AfterValidator(_known_metric)]


class Task(Config, ABC):
    """A task: the source of its rows, its prompt, and its metrics.

    A task is data, not code. It renders the same way for training, generation and evaluation. A
    task without ``files`` and ``hub`` is a template for rows from elsewhere.
    """

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*$")
    """The name of the task, such as glue/rte. Without one, the name of the task's file is used."""
    about: str = ""
    """A short description of the task."""
    version: int = 1
    """The version of the definition; it rises with each change that affects scores."""
    format: str = "own"
    """The benchmark or harness whose prompts and scoring the task follows; own: none."""
    cluster: str = ""
    """The cluster of tasks that ask for the same kind of answer, such as nli or translate."""
    files: Annotated[tuple[FileSource, ...], BeforeValidator(_file_sources)] = ()
    """Files with the rows; the path of one file means its splits. The first source whose file
    exists is used."""
    hub: HubSource | None = None
    """The data set on the Hub with the rows. Without files and hub, rows come from data.source."""
    split: str = "test"
    """The split to measure."""
    shots_from: str = "train"
    """The split that few-shot examples (worked examples) come from."""
    examples: tuple[Mapping[str, Any], ...] = ()
    """Rows of few-shot examples, given here instead of in the split ``shots_from``. They are shown
    in this order."""
    shots: int = Field(default=0, ge=0)
    """The default number of few-shot examples."""
    draw: Literal["seeded", "first"] = "seeded"
    """The choice of few-shot examples. seeded: draw them with the run's seed, balanced over labels.
    first: take the first rows."""
    too_long: Literal["cut", "fewer-shots"] = "cut"
    """The treatment of prompts that exceed the context window. cut: truncate the prompt from the
    left, but keep the token that begins texts (BOS). fewer-shots: drop the last few-shot
    examples."""
    id: Jinja | None = None
    """The id of a row, as a template; null: its index in the split."""
    group: Jinja | None = None
    """The group of a row, as a template, such as the passage that it is about. Rows of
    one group count as one observation."""
    question_id: Jinja | None = None
    """The question that a row belongs to, as a template. Rows of one question are scored
    together."""
    trailing_whitespace: Literal["strip", "keep"] = "strip"
    """The treatment of white space at the end of every text. strip: remove it, so that a block and
    a line of YAML mean the same, and a model never has to produce blanks. keep: use texts as
    written, which the scores of published benchmarks require."""
    system: Jinja = ""
    """The system message, as a template; plain-text prompts begin with it (elsewhere
    description)."""
    prompt: Jinja = ""
    """The question, as a template (elsewhere input)."""
    delimiter: str = " "
    """The text between a question and its answer, in plain text."""
    separator: str = "\n\n"
    """The text between few-shot examples, in plain text."""
    max_new_tokens: int = Field(default=32, ge=1)
    """The maximum length of a generated answer, in tokens. Answers to a run's own data are always
    generated, for every kind of task."""
    metrics: Annotated[tuple[MetricName, ...], OneOrMore] = Field(min_length=1)
    """The metrics. The first one decides comparisons; a suite averages all of them."""
    submission: Submission | None = None
    """The file of predictions for a leaderboard."""

    takes_shots: ClassVar[bool] = True
    takes_turns: ClassVar[bool] = True
    """Whether a question can be a turn of a conversation (chat template)."""
    is_trainable: ClassVar[bool] = True
    """Whether rows are questions with answers, so that a run can train on them."""
    advice: ClassVar[str] = "measure choices with acc, and ratings with pearson"
    _folder: Path | None = PrivateAttr(default=None)
    _NOT_ASKED: ClassVar[frozenset[str]] = frozenset({
        "about", "cluster", "version", "files", "hub", "split", "shots", "max_new_tokens",
        "metrics", "submission", "name",
    })  # fmt: skip
    _NOT_IN_QUESTION: ClassVar[frozenset[str]] = frozenset({
        "id", "group", "question_id", "label", "completion",
    })  # fmt: skip
    _UNCHANGED: ClassVar[Mapping[str, Any]] = {"examples": (), "trailing_whitespace": "keep"}
    """The neutral value of fields that were added later, by field.

    Fingerprints leave a field out at this value, so tasks that do not use it keep theirs.
    """
    _STORED_AS: ClassVar[Mapping[str, str]] = {"system": "description"}
    """The former names of renamed fields, which fingerprints still use."""

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
        """The properties of the samples of this kind of task, which metrics may need."""
        return frozenset({"answers", "choices", "labels", "likelihoods"})

    @property
    def label_words(self) -> Mapping[str, str]:
        """The words of each label, for display; empty for open answers."""
        return {}

    @property
    def gives_written(self) -> frozenset[Need]:
        """The properties of generated answers to this task, beside their text.

        A generated answer is one of the choices' words. These are labels only if each label is its
        own word.
        """
        words = self.label_words
        labels: set[Need] = {"labels"} if words and all(k == v for k, v in words.items()) else set()
        return self.gives & frozenset[Need]({"choices"}) | labels

    @property
    def has_rows(self) -> bool:
        """Whether the task names a source of rows; without one it is a template."""
        return bool(self.files) or self.hub is not None

    @property
    def columns(self) -> frozenset[str]:
        """The columns that the question and its answer need."""
        return columns_of(self.snippets.values())

    @property
    def question_columns(self) -> frozenset[str]:
        """The columns that a row needs to be asked about, without those of its answer."""
        asked = (text for name, text in self.snippets.items() if name not in self._NOT_IN_QUESTION)
        return columns_of(asked)

    @property
    def snippets(self) -> Mapping[str, str]:
        """The templates that every row fills, by field."""
        names = ("system", "prompt", "id", "group", "question_id")
        return {name: text for name in names if (text := getattr(self, name))}

    @property
    def stamp(self) -> TemplateStamp:
        """The name of the task, and a fingerprint of all fields that affect its prompts."""
        unused = {name for name, value in self._UNCHANGED.items() if getattr(self, name) == value}
        content = self.model_dump(mode="json", exclude={*self._NOT_ASKED, *unused})
        stored = {self._STORED_AS.get(name, name): value for name, value in content.items()}
        return TemplateStamp(id=self.name, hash=fingerprint(json.dumps(stored, sort_keys=True)))

    @property
    def after_system(self) -> str:
        """The text after the system message, in plain text."""
        return self.separator if self.trailing_whitespace == "strip" else ""

    def located(self, folder: Path) -> Self:
        """A copy of the task that looks for its files in ``folder`` first."""
        task = self.model_copy()
        task._folder = folder
        return task

    @property
    def folder(self) -> Path | None:
        """The folder of the task's own file; None: the task is built in."""
        return self._folder

    def overridden(self, values: Mapping[str, Any], checks: Checks | None = None) -> Self:
        """A copy of the task with other values of some fields.

        Args:
            values: the new values, by field.
            checks: check that the task suits its metrics; None: do not check.

        Raises:
            ValidationError: the values do not go together, or a metric does not suit the task.
        """
        task = type(self).model_validate(
            self.model_dump() | dict(values), context={"checks": checks}
        )
        task._folder = self._folder
        return task

    def shown(self, shot: Document) -> str:
        """A few-shot example as plain text."""
        return f"{shot.prompt}{self.delimiter}{shot.solution}"

    def worked_example(self, row: Row, place: int, source_labels: Mapping[str, str]) -> Document:
        """The few-shot example that a row makes: its question and right answer.

        Its id is its index in the split, because few-shot examples need no names.

        Args:
            row: the row.
            place: the index of the row in its split, from 0.
            source_labels: the task's labels, by the source's labels.

        Raises:
            DataError: a column is missing, a label has no words, a text cannot be made, or the
                question or an answer is empty.
        """
        return self._rendered(row, source_labels, answered=True, id=str(place))

    def document(
        self, row: Row, place: int, source_labels: Mapping[str, str], *, answered: bool = True
    ) -> Document:
        """The item that a row makes, with its id, group and question id.

        Args:
            row: the row.
            place: the index of the row in its split, from 0.
            source_labels: the task's labels, by the source's labels.
            answered: whether to read the right answer; False for unlabelled splits.

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

    def question(self, row: Row) -> Example:
        """The question that a row makes, with its choices; columns of the answer are not read.

        Raises:
            DataError: a column is missing, a text cannot be made, or the question is empty.
        """
        example = self._rendered(row, {}, answered=False, id="").example()
        return replace(example, references=(), answer=None)

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

    def empty_example(self) -> Example:
        """The task's question without content: every column is empty.

        Raises:
            DataError: the task cannot be rendered without content.
        """
        row = Row(dict.fromkeys(self.columns, ""), "a row without content")
        system = self.render("system", self.system, row).rstrip()
        told = (Message("system", system),) if system else ()
        question = Message("user", self.render("prompt", self.prompt, row))
        return Example("empty", (*told, question), (), where=row.where)

    def question_id_of(self, row: Row) -> str:
        """The id of the question that a row is scored for; empty if it is scored by itself."""
        return self._name("question_id", self.question_id, row)

    @abstractmethod
    def fields(self, row: Row) -> dict[str, Any]:
        """The fields of a row's `Document` beside its prompt and right answer, by name."""

    @abstractmethod
    def answer(self, row: Row, source_labels: Mapping[str, str]) -> Answer:
        """The right answer of a row.

        Args:
            row: the row.
            source_labels: the task's labels, by the source's labels.
        """

    def stripped(self, text: str) -> str:
        """The text of a column, treated as ``trailing_whitespace`` says."""
        return text.rstrip() if self.trailing_whitespace == "strip" else text

    def render(self, field: str, source: str, row: Row, **more: Any) -> str:
        """The rendered text of a field, which may be empty; see `TextField.render`."""
        return self._text(field, source).render(row, **more)

    def filled(self, field: str, source: str, row: Row, **more: Any) -> str:
        """The rendered text of a field, which is not empty; see `TextField.filled`."""
        return self._text(field, source).filled(row, **more)

    def _text(self, field: str, source: str) -> TextField:
        return TextField(field, source, self.name, strips=self.trailing_whitespace == "strip")

    def _name(self, field: str, source: str | None, row: Row) -> str:
        """The rendered text of a field, or its fingerprint if it is as long as a passage."""
        text = self.render(field, source, row) if source is not None else ""
        return text if len(text) <= _LONGEST_NAME else fingerprint(text)
