"""Tasks with generated answers, which extractors may take from the generated text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from luthier.config.base import Config, OneOrMore
from luthier.config.decoding import Greedy, StopString, Strategy
from luthier.core.row import Row
from luthier.prompts.jinja import Jinja, columns_of
from luthier.prompts.reasoning import answer_only
from luthier.tasks.columns import ColumnOrText, has_column, is_column, texts_of, value_of
from luthier.tasks.item import Answer
from luthier.tasks.needs import Need
from luthier.tasks.task import Task

_NOTHING = "[invalid]"
_EXTRACTOR = re.compile(r"(?:^|:)match:(.+)$")


def _valid_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"this is no regular expression: {error}") from None
    return pattern


Pattern = Annotated[str, AfterValidator(_valid_pattern)]


class Extractor(Config):
    """A regular expression that extracts the answer from a generated text."""

    pattern: Pattern
    """A regular expression. The answer is its first group that matched, or the whole match if no
    group matched."""
    take: Literal["first", "last"] = "first"
    """first: the first match in the text. last: the last match."""

    def find(self, text: str) -> str:
        """The answer in a text; ``[invalid]`` if nothing matches."""
        found = list(re.finditer(self.pattern, text))
        if not found:
            return _NOTHING
        match = found[0] if self.take == "first" else found[-1]
        groups = [group for group in match.groups() if group]
        return (groups[0] if groups else match.group()).strip()


class GenerationTask(Task):
    """A task with a generated answer; decoding is greedy unless ``decoding`` changes it."""

    _NOT_ASKED: ClassVar[frozenset[str]] = Task._NOT_ASKED - {"max_new_tokens"}
    _UNCHANGED: ClassVar[Mapping[str, Any]] = {
        **Task._UNCHANGED,
        "references": (),
        "decoding": Greedy(),
        "samples": 1,
    }
    advice: ClassVar[str] = "measure with exact_match, or add what it needs"

    kind: Literal["generate"]
    completion: Jinja | None = None
    """The answer that training teaches and few-shot examples show. null: the first of references
    (elsewhere target or output)."""
    references: Annotated[tuple[ColumnOrText, ...], OneOrMore] = ()
    """Further accepted answers (elsewhere answers). Each entry is a template, or a column with one
    answer or a list of them. A row may lack these columns as long as it has one answer."""
    until: tuple[StopString, ...] = ()
    """Stop strings: the answer ends where one of them begins."""
    max_new_tokens: int = Field(default=256, ge=1)
    """The maximum length of an answer, in tokens."""
    decoding: Strategy = Greedy()
    """The decoding strategy: how each token is chosen."""
    samples: int = Field(default=1, ge=1)
    """The number of answers to sample for each question. pass@k and majority score them together,
    as one observation."""
    extract: Mapping[str, Extractor] = Field(default_factory=dict)
    """Extractors of the answer, by name. The metric match:NAME scores the answer that the extractor
    NAME finds."""
    ignore: tuple[Pattern, ...] = ()
    """Regular expressions for text to ignore in a comparison. Their matches are removed from found
    and accepted answers, in this order; then both are lower-cased."""

    @model_validator(mode="after")
    def _metrics_know_the_extractors(self) -> Self:
        for metric in self.metrics:
            named = _EXTRACTOR.search(metric)
            if named and named.group(1) not in self.extract:
                raise ValueError(
                    f"the metric {metric} needs an extractor called {named.group(1)!r}"
                )
        return self

    @model_validator(mode="after")
    def _has_answers(self) -> Self:
        if self.completion is None and not self.references:
            raise ValueError("give the accepted answer in completion, or several in references")
        return self

    @model_validator(mode="after")
    def _stands_for_itself(self) -> Self:
        if self.samples > 1 and self.question_id is not None:
            raise ValueError("several samples are scored together, so there can be no question_id")
        return self

    def compared(self, text: str) -> str:
        """An answer normalised for comparison: without matches of ``ignore``, in lower case."""
        for pattern in self.ignore:
            text = re.sub(pattern, "", text)
        return text.lower()

    @property
    def gives(self) -> frozenset[Need]:
        """See `Task.gives`."""
        several: set[Need] = {"several answers", "sets of answers"} if self.samples > 1 else set()
        return frozenset[Need]({"answers", "written answers", "extractors"}) | several

    def fields(self, row: Row) -> dict[str, Any]:
        """An empty mapping: an open answer has no fields beside the prompt."""
        return {}

    def answer(self, row: Row, source_labels: Mapping[str, str]) -> Answer:
        """The accepted answers; a few-shot example shows the first."""
        accepted = tuple(dict.fromkeys(self._accepted(row)))
        # Few-shot examples show the reasoning of a row; answers are compared without it.
        references = tuple(dict.fromkeys(map(answer_only, accepted)))
        return Answer(references, accepted[0])

    @property
    def snippets(self) -> Mapping[str, str]:
        """See `Task.snippets`; without ``references``, whose columns a row may lack."""
        return {**super().snippets, **({"completion": self.completion} if self.completion else {})}

    def _accepted(self, row: Row) -> tuple[str, ...]:
        """All accepted answers of a row, the completion first.

        Raises:
            DataError: the row has no answer, or an answer is empty or no text.
        """
        fields = {f"references.{n}": source for n, source in enumerate(self.references)}
        there = {name: source for name, source in fields.items() if _is_there(source, row)}
        further = [text for name in there for text in self._answers(name, there[name], row)]
        if self.completion is not None and (not further or _has_all(self.completion, row)):
            return (self.filled("completion", self.completion, row), *further)
        return tuple(further) or self._answers(*next(iter(fields.items())), row)

    def _answers(self, field: str, source: str, row: Row) -> tuple[str, ...]:
        """The answers of one entry of ``references``; a list may hold an empty answer.

        Raises:
            DataError: there is no answer, or a single answer is empty or no text.
        """
        if not is_column(source):
            return (self.filled(field, source, row),)
        value = value_of(row, source, self.name)
        if isinstance(value, list):
            return tuple(map(self.stripped, texts_of(row, source, self.name)))
        printed = f"{{{{ row[{json.dumps(source)}] }}}}"
        return (self.filled(field, printed, row, **{source: value}),)


def _is_there(source: str, row: Row) -> bool:
    return has_column(row, source) if is_column(source) else _has_all(source, row)


def _has_all(source: str, row: Row) -> bool:
    return columns_of([source]) <= row.values.keys()
