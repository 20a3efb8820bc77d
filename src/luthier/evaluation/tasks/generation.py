"""Tasks whose answer is generated, and then looked for in what was generated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from luthier.config import Decoding
from luthier.config.base import Config
from luthier.config.decoding import Greedy, StopString, Strategy
from luthier.core.errors import DataError, UsageError
from luthier.data.readers import Row
from luthier.evaluation.answering import (
    Reply,
    as_one_of,
    drawings,
    replies,
    require_draws,
    require_enough,
)
from luthier.evaluation.metrics.base import Need
from luthier.evaluation.tasks.columns import Column, one_or_more
from luthier.evaluation.tasks.encode import TextEncoder
from luthier.evaluation.tasks.item import Question
from luthier.evaluation.tasks.task import Answers, Progress, Task
from luthier.inference import Engine
from luthier.prompts.render import Prompt
from luthier.prompts.template import Jinja
from luthier.prompts.thoughts import answer_only
from luthier.records.evaluation import SampleRecord

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
    _advice: ClassVar[str] = "measure with exact_match, or add what it needs"

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
    def _samples_differ(self) -> Self:
        try:
            require_draws(self.decoding, self.samples)
            require_enough(self.load_metrics(), self.samples)
        except UsageError as error:
            raise ValueError(f"{error.problem}; {error.fix}") from None
        if self.samples > 1 and self.question_id is not None:
            raise ValueError("several samples are scored together, so there can be no question_id")
        return self

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

    def fits(self, question: Question, encoder: TextEncoder) -> bool:
        """Whether there is room for the longest answer."""
        room = 0 if encoder.encoder_decoder else self.max_new_tokens
        return len(encoder.ids(question.context)) + room <= encoder.context_window

    def ask(
        self,
        engine: Engine,
        encoder: TextEncoder,
        questions: Sequence[Question],
        progress: Progress,
    ) -> Answers:
        """See `Task.ask`."""
        room = encoder.context_window - (0 if encoder.encoder_decoder else self.max_new_tokens)
        if room < 1:
            raise DataError(
                f"answers of {self.max_new_tokens} tokens leave no room for a question in a "
                f"context window of {encoder.context_window}",
                where=self.name,
                fix="lower max_new_tokens, or use a model with a longer context window",
            )
        whole = [encoder.ids(question.context) for question in questions]
        prompts = [
            Prompt(encoder.shortened(ids, room), question.prompt)
            for ids, question in zip(whole, questions, strict=True)
        ]
        with progress("answering", len(prompts) * self.samples) as advance:
            drawn = [
                replies(engine, prompts, each, encoder.reader, advance)
                for each in self._decodings()
            ]
        return Answers(
            samples=tuple(
                self._sample(question, reply, number)
                for question, drawing in zip(questions, zip(*drawn, strict=True), strict=True)
                for number, reply in enumerate(drawing, start=1)
            ),
            prompt_tokens=sum(len(prompt.ids) for prompt in prompts),
            generated_tokens=sum(reply.tokens for drawing in drawn for reply in drawing),
            cut_prompts=sum(len(ids) > room for ids in whole),
            cut_answers=sum(reply.finish == "length" for drawing in drawn for reply in drawing),
        )

    def _decodings(self) -> Iterator[Decoding]:
        """How each of the samples is drawn."""
        decoding = Decoding(
            max_new_tokens=self.max_new_tokens, stop=self.until, strategy=self.decoding
        )
        return drawings(decoding, self.samples)

    def _sample(self, question: Question, reply: Reply, number: int) -> SampleRecord:
        found = {name: self._compared(e.find(reply.answer)) for name, e in self.extract.items()}
        accepted = tuple(map(self._compared, question.document.references)) if found else ()
        document, several = question.document, {}
        if self.samples > 1:
            several = as_one_of(document.id, document.group, number)
        return document.sample(
            question.prompt,
            reply.answer,
            finish=reply.finish,
            generated=reply.generated,
            extracted=found,
            accepted=accepted,
            **several,
        )

    def _compared(self, text: str) -> str:
        for pattern in self.ignore:
            text = re.sub(pattern, "", text)
        return text.lower()
