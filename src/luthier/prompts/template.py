"""Templates: data that says how the columns of a row become a question and its answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from luthier.config.base import Config, OneOrMore
from luthier.core.errors import DataError
from luthier.core.example import Example, Message
from luthier.core.names import did_you_mean, listed
from luthier.core.seeds import fingerprint
from luthier.prompts.filters import text_of
from luthier.prompts.sandbox import compile_snippet


def _valid_snippet(source: str) -> str:
    try:
        compile_snippet(source)
    except DataError as error:
        raise ValueError(f"{error.problem} ({error.fix})" if error.fix else error.problem) from None
    return source


def with_text_keys(value: Any) -> Any:
    """YAML reads the labels 0 and true as a number and a boolean; rows are compared as text."""
    if not isinstance(value, Mapping):
        return value
    return {text_of(key): word for key, word in value.items()}


Jinja = Annotated[str, AfterValidator(_valid_snippet)]
"""A text in the template language of `luthier.prompts.sandbox`, over the columns of a row."""


class Template(Config):
    """How a row becomes an `Example`. It is data, not code, and renders the same everywhere.

    Trailing whitespace is stripped from every rendered text, so that a block of YAML and a line
    of YAML mean the same, and so that a model never has to produce blanks.
    """

    name: str = Field(min_length=1)
    """Such as summarise-dialogue/short; that of a file is its own name where none is given."""
    cluster: str = ""
    """Tasks of one cluster ask for the same kind of answer, such as nli or translate."""
    system: Jinja | None = None
    """A system message before the question."""
    prompt: Jinja
    """The question (elsewhere input)."""
    completion: Jinja | None = None
    """The answer, where it is not one of choices (elsewhere target or output)."""
    references: tuple[Jinja, ...] = ()
    """More accepted answers. A row may lack their columns as long as it has one answer."""
    label: Jinja | None = None
    """The label of a row, where the answer is one of choices."""
    choices: Annotated[Mapping[str, Jinja], BeforeValidator(with_text_keys)] = Field(
        default_factory=dict
    )
    """From every label to the words of the answer, which may use the row's columns."""
    metrics: Annotated[tuple[str, ...], OneOrMore] = Field(min_length=1)
    """How answers are measured; the first metric decides."""
    max_new_tokens: int = Field(default=64, ge=1)
    """The longest answer."""

    @model_validator(mode="after")
    def _has_one_kind_of_answer(self) -> Self:
        if bool(self.choices) != (self.label is not None):
            raise ValueError("label and choices belong together")
        if bool(self.choices) == (self.completion is not None):
            raise ValueError("give either a completion, or a label with choices")
        if self.references and self.choices:
            raise ValueError("references go with a completion, not with choices")
        return self

    @property
    def hash(self) -> str:
        """A fingerprint of everything that decides what is rendered, the order of choices too."""
        content = self.model_dump(
            mode="json",
            include={"system", "prompt", "completion", "references", "label", "choices"},
        )
        return fingerprint(json.dumps(content, ensure_ascii=False))

    @property
    def input_columns(self) -> frozenset[str]:
        """The columns that a question needs, its choices included."""
        return _columns(self._question.values())

    @property
    def _question(self) -> dict[str, str]:
        """The texts that make a question, by their fields."""
        choices = {f"choices.{label}": source for label, source in self.choices.items()}
        return {"system": self.system or "", "prompt": self.prompt, **choices}

    @property
    def columns(self) -> frozenset[str]:
        """The columns that a question and its answer need."""
        return self.input_columns | _columns((self.completion or self.label or "",))

    def render(
        self,
        row: Mapping[str, Any],
        *,
        where: str,
        id: str,  # noqa: A002 - the name of the field that it fills
        group: str = "",
        needs_target: bool = True,
    ) -> Example:
        """The example that ``row`` stands for.

        Args:
            row: values by column.
            where: the row's place, for error messages.
            id: the example's id.
            group: the example's group.
            needs_target: whether a row without an answer is an error; if not, such a row gives an
                example without references.

        Raises:
            DataError: a column is missing, a label is not among the choices, a text cannot be
                rendered, or the question or an answer is empty.
        """
        self._require(self._question, row, where)
        messages = [Message("user", self._text("prompt", self.prompt, row, where))]
        if self.system is not None:
            messages.insert(0, Message("system", self._text("system", self.system, row, where)))
        words = {
            label: self._text(f"choices.{label}", source, row, where)
            for label, source in self.choices.items()
        }
        return Example(
            id=id,
            messages=tuple(messages),
            references=self._answers(row, words, where, needs_target),
            choices=tuple(dict.fromkeys(words.values())),
            group=group,
            where=where,
        )

    def _answers(
        self, row: Mapping[str, Any], words: Mapping[str, str], where: str, needs_target: bool
    ) -> tuple[str, ...]:
        """The words of the row's label, or its completion and further references."""
        if self.label is not None:
            if not needs_target and not _columns((self.label,)) <= row.keys():
                return ()
            return (self._words_of_label(self.label, row, words, where),)
        sources = {f"references.{index}": text for index, text in enumerate(self.references)}
        sources = {"completion": self.completion or "", **sources}
        present = {name: text for name, text in sources.items() if _columns((text,)) <= row.keys()}
        if not present and needs_target:
            self._require(sources, row, where)
        texts = [self._text(name, source, row, where) for name, source in present.items()]
        return tuple(dict.fromkeys(texts))

    def _words_of_label(
        self, source: str, row: Mapping[str, Any], words: Mapping[str, str], where: str
    ) -> str:
        self._require({"label": source}, row, where)
        label = self._text("label", source, row, where)
        if label not in words:
            known = listed(f"{name!r} ({word!r})" for name, word in words.items())
            raise DataError(
                f"the label {label[:80]!r} is not among the choices of the template {self.name!r}",
                where=where,
                fix=_suggest(label[:80], words, f"the labels are {known}"),
            )
        return words[label]

    def _text(self, field: str, source: str, row: Mapping[str, Any], where: str) -> str:
        try:
            text = compile_snippet(source).render(row).rstrip()
        except DataError as error:
            null = [name for name in sorted(_columns((source,))) if row.get(name, "") is None]
            fix = f"null here: {listed(null)}" if null else error.fix
            place = f"{where}, {field!r} of the template {self.name!r}"
            raise DataError(error.problem, where=place, fix=fix) from None
        if not text:
            raise DataError(
                f"{field!r} of the template {self.name!r} is empty for this row",
                where=where,
                fix=f"it is made of {listed(sorted(_columns((source,)))) or 'no column'}",
            )
        return text

    def _require(self, sources: Mapping[str, str], row: Mapping[str, Any], where: str) -> None:
        for field, source in sources.items():
            missing = sorted(_columns((source,)) - row.keys())
            if missing:
                raise DataError(
                    f"{field!r} of the template {self.name!r} needs the column {missing[0]!r}, "
                    "which is not there",
                    where=where,
                    fix=_suggest(missing[0], row, f"the columns are {listed(row)}"),
                )


def _columns(sources: Iterable[str]) -> frozenset[str]:
    return frozenset().union(*(compile_snippet(source).columns for source in sources))


def _suggest(name: str, known: Iterable[str], otherwise: str) -> str:
    return f"{did_you_mean(name, map(str, known))} {otherwise}".strip()
