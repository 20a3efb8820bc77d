"""Tasks whose answer is generated, and then looked for in what was generated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from luthier.config import Decoding
from luthier.config.base import Config
from luthier.config.decoding import StopString
from luthier.core.errors import DataError
from luthier.core.records import SampleRecord
from luthier.data.readers import Row
from luthier.evaluate.tasks.document import Question
from luthier.evaluate.tasks.encode import TextEncoder
from luthier.evaluate.tasks.task import Answers, Progress, Task
from luthier.inference import Engine, Generation
from luthier.prompts.template import Jinja

_NOTHING = "[invalid]"


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
    """An answer that is generated greedily."""

    has_choices: ClassVar[bool] = False

    kind: Literal["generate"]
    answer: Jinja
    """The accepted answer, as a worked example shows it."""
    until: tuple[StopString, ...] = ()
    """The answer ends where one of these texts begins."""
    max_new_tokens: int = Field(default=256, ge=1)
    """The longest answer, in tokens."""
    extract: Mapping[str, Extractor] = Field(default_factory=dict)
    """Ways to find the answer in a text, by name; the metric match:NAME judges one of them."""
    ignore: tuple[Pattern, ...] = ()
    """What is removed from found and accepted answers, in this order, before letters are lowered
    and both are compared."""

    @model_validator(mode="after")
    def _metrics_know_the_extractors(self) -> Self:
        for metric in self.metrics:
            name, _, extractor = metric.partition(":")
            if name == "match" and extractor not in self.extract:
                raise ValueError(f"the metric {metric} needs an extractor called {extractor!r}")
        return self

    def fields(self, row: Row, source_labels: Mapping[str, str]) -> dict[str, Any]:
        """Nothing but the prompt."""
        return {}

    def answer_fields(self, row: Row, source_labels: Mapping[str, str]) -> dict[str, Any]:
        """The accepted answer, which is also what is shown."""
        answer = self.render("answer", self.answer, row)
        return {"references": (answer,), "solution": answer}

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
        prompts = [ids[-room:] for ids in whole]
        with progress("answering", len(prompts)) as advance:
            answers = engine.generate(prompts, self._decoding, advance)
        rows = list(zip(questions, answers, strict=True))
        return Answers(
            samples=tuple(self._sample(question, answer) for question, answer in rows),
            prompt_tokens=sum(map(len, prompts)),
            generated_tokens=sum(len(answer.ids) for answer in answers),
            cut_prompts=sum(len(ids) > room for ids in whole),
            cut_answers=sum(answer.finish == "length" for answer in answers),
        )

    def _sample(self, question: Question, answer: Generation) -> SampleRecord:
        found = {name: self._compared(e.find(answer.text)) for name, e in self.extract.items()}
        accepted = tuple(map(self._compared, question.document.references)) if found else ()
        return question.document.sample(
            question.context, answer.text, finish=answer.finish, extracted=found, accepted=accepted
        )

    @property
    def _decoding(self) -> Decoding:
        return Decoding(max_new_tokens=self.max_new_tokens, stop=self.until)

    def _compared(self, text: str) -> str:
        for pattern in self.ignore:
            text = re.sub(pattern, "", text)
        return text.lower()
