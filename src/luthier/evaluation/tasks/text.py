"""Tasks that ask how well a model expects a text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from luthier.core.errors import DataError
from luthier.data.readers import Row
from luthier.evaluation.metrics.base import Need
from luthier.evaluation.tasks.encode import TextEncoder
from luthier.evaluation.tasks.item import Question
from luthier.evaluation.tasks.task import Answers, Progress, Task
from luthier.inference import Engine, Score, ScoreRequest
from luthier.prompts.template import Jinja
from luthier.records.evaluation import SampleRecord


class TextTask(Task):
    """The likelihood of whole texts. A text longer than the context window is cut into windows."""

    takes_shots: ClassVar[bool] = False
    takes_turns: ClassVar[bool] = False

    kind: Literal["text"]
    delimiter: str = ""
    text: Jinja
    """What is scored."""
    counted: Jinja | None = None
    """The text whose words and bytes are counted, where that is another one."""

    @property
    def gives(self) -> frozenset[Need]:
        """See `Task.gives`."""
        return frozenset({"likelihoods", "lengths"})

    @model_validator(mode="after")
    def _has_no_question(self) -> Self:
        if self.prompt or self.description or self.shots:
            raise ValueError("a task of the kind text has no prompt, description or shots")
        return self

    def fields(self, row: Row, source_labels: Mapping[str, str]) -> dict[str, Any]:
        """The text, and how many words (parts between white space) and bytes it has.

        Raises:
            DataError: it is empty.
        """
        text = self.render("text", self.text, row)
        if not text.strip():
            raise DataError(f"a text of the task {self.name!r} is empty", where=row.where)
        counted = self.render("counted", self.counted, row) if self.counted else text
        counts = {"words": len(re.split(r"\s+", counted)), "bytes": len(counted.encode())}
        return {"words": (text,), "counts": counts}

    def answer_fields(self, row: Row, source_labels: Mapping[str, str]) -> dict[str, Any]:
        """Nothing is right or wrong."""
        return {"references": ()}

    def fits(self, question: Question, encoder: TextEncoder) -> bool:
        """A text always does, in windows."""
        return True

    def ask(
        self,
        engine: Engine,
        encoder: TextEncoder,
        questions: Sequence[Question],
        progress: Progress,
    ) -> Answers:
        """See `Task.ask`. All windows of all texts are one call."""
        cut = [
            list(windows(encoder.literal_ids(question.document.words[0]), encoder.context_window))
            for question in questions
        ]
        requests = [window for parts in cut for window in parts]
        with progress("scoring", len(requests)) as advance:
            scores = iter(engine.score(requests, advance))
        samples = tuple(
            _measured(question, parts, [next(scores) for _ in parts])
            for question, parts in zip(questions, cut, strict=True)
        )
        return Answers(samples, prompt_tokens=sum(sample.counts["tokens"] for sample in samples))


def windows(ids: Sequence[int], size: int) -> Iterator[ScoreRequest]:
    """Requests in which each token is predicted once, as lm-evaluation-harness cuts a text.

    The first window predicts its tokens from nothing. Each further one begins with the token
    before it; the last one also sees as much of what is before as the context window holds.

    Args:
        ids: the tokens of a text.
        size: the model's context window.
    """
    for start in range(0, len(ids), size):
        end = min(start + size, len(ids))
        before = max(0, end - size - 1) if start else 0
        yield ScoreRequest(tuple(ids[before:start]), tuple(ids[start:end]))


def _measured(
    question: Question, parts: Sequence[ScoreRequest], scores: Sequence[Score]
) -> SampleRecord:
    document = question.document
    tokens = sum(len(part.continuation) for part in parts)
    return document.sample(
        document.words[0],
        "",
        words=(),
        likelihoods=(sum(score.logprob for score in scores),),
        counts={**document.counts, "tokens": tokens},
    )
