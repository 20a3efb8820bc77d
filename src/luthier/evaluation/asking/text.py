"""The likelihood of whole texts, cut into windows where they are longer than the context window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from luthier.evaluation.asking.ask import Answers, Progress, ask, fits
from luthier.evaluation.asking.encode import TextEncoder
from luthier.inference import Engine, Score, ScoreRequest
from luthier.records.evaluation import SampleRecord
from luthier.tasks.item import Question
from luthier.tasks.text import TextTask


@fits.register
def _(task: TextTask, question: Question, encoder: TextEncoder) -> bool:
    """A text always does, in windows."""
    return True


@ask.register
def _(
    task: TextTask,
    engine: Engine,
    encoder: TextEncoder,
    questions: Sequence[Question],
    progress: Progress,
) -> Answers:
    """All windows of all texts are one call."""
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
