"""Tasks whose answer is generated, and then looked for in what was generated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from luthier.config.base import Config
from luthier.config.decoding import Greedy, StopString, Strategy
from luthier.core.row import Row
from luthier.prompts.reasoning import answer_only
from luthier.prompts.template import Jinja
from luthier.tasks.columns import Column, one_or_more
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
    """Where the answer is in a text."""

    pattern: Pattern
    """A regular expression. Its first group that matched is the answer, or all of the match."""
    take: Literal["first", "last"] = "first"
    """Which of the matches."""

    def find(self, text: str) -> str:
        """The answer; ``[invalid]`` where there is none."""
        found = list(re.finditer(self.pattern, text))
        if not found:
            return _NOTHING
        match = found[0] if self.take == "first" else found[-1]
        groups = [group for group in match.groups() if group]
        return (groups[0] if groups else match.group()).strip()


class GenerationTask(Task):
    """An answer that is generated, greedily unless ``decoding`` says otherwise."""

    _ADDED: ClassVar[set[str]] = {*Task._ADDED, "answers", "decoding", "samples"}
    advice: ClassVar[str] = "measure with exact_match, or add what it needs"

    kind: Literal["generate"]
    completion: Jinja | None = None
    """The accepted answer, as a worked example shows it; None: the first of ``answers``."""
    answers: Column | None = None
    """The column with a list of accepted answers (or with one); ``completion`` is accepted too."""
    until: tuple[StopString, ...] = ()
    """The answer ends where one of these texts begins."""
    max_new_tokens: int = Field(default=256, ge=1)
    """The longest answer, in tokens."""
    decoding: Strategy = Greedy()
    """How each token is chosen."""
    samples: int = Field(default=1, ge=1)
    """How many answers are drawn for each question; they are scored together by pass@k and
    majority."""
    extract: Mapping[str, Extractor] = Field(default_factory=dict)
    """Ways to find the answer in a text, by name; the metric match:NAME judges one of them."""
    ignore: tuple[Pattern, ...] = ()
    """What is removed from found and accepted answers, in this order, before letters are lowered
    and both are compared."""

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
        if self.completion is None and self.answers is None:
            raise ValueError("give the accepted answer, or the column of accepted answers")
        return self

    @model_validator(mode="after")
    def _stands_for_itself(self) -> Self:
        if self.samples > 1 and self.question_id is not None:
            raise ValueError("several samples are scored together, so there can be no question_id")
        return self

    def compared(self, text: str) -> str:
        """An answer in the form in which found and accepted answers are compared."""
        for pattern in self.ignore:
            text = re.sub(pattern, "", text)
        return text.lower()

    @property
    def gives(self) -> frozenset[Need]:
        """See `Task.gives`."""
        several: set[Need] = {"several answers", "sets of answers"} if self.samples > 1 else set()
        return frozenset[Need]({"answers", "written answers", "extractors"}) | several

    def fields(self, row: Row, source_labels: Mapping[str, str]) -> dict[str, Any]:
        """Nothing but the prompt."""
        return {}

    def answer_fields(self, row: Row, source_labels: Mapping[str, str]) -> dict[str, Any]:
        """The accepted answers, the first of which is shown."""
        first = (
            () if self.completion is None else (self.render("completion", self.completion, row),)
        )
        more = () if self.answers is None else one_or_more(row, self.answers, self.name)
        accepted = tuple(dict.fromkeys((*first, *more)))
        # A worked example shows the reasoning of a row; an answer is compared without it.
        references = tuple(dict.fromkeys(map(answer_only, accepted)))
        return {"references": references, "solution": accepted[0]}
