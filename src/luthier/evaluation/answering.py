"""Answers without the reasoning before them: the one way for the data and for benchmark tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from luthier.config import Decoding
from luthier.config.decoding import Sampling, Strategy
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.seeds import derive
from luthier.evaluation.metrics import Metric
from luthier.inference import Engine, Generation
from luthier.inference.engine import ProgressCallback, before_stop, ignore_progress
from luthier.prompts.answers import AnswerReader
from luthier.prompts.prompt import Prompt
from luthier.records.evaluation import SampleRecord


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model replied.

    Attributes:
        answer: what it says behind its reasoning; nothing where the reasoning does not end.
        generated: all that was generated where that is more than the answer, else nothing.
        finish: as `Generation.finish`.
        tokens: how many were generated.
    """

    answer: str
    generated: str
    finish: Literal["stop", "length"]
    tokens: int


def replies(
    engine: Engine,
    prompts: Sequence[Prompt],
    decoding: Decoding,
    reader: AnswerReader,
    advance: ProgressCallback = ignore_progress,
) -> list[Reply]:
    """Ask a model, and read its answers.

    Stop texts end answers, not reasoning, which may well hold a blank line or "Question:". Where
    one ended a reply within its reasoning, that reply is made again without stop texts, and is cut
    at the first one behind the reasoning. Models that do not reason are asked once.

    Args:
        engine: generates.
        prompts: what is asked.
        decoding: how.
        reader: finds the answers.
        advance: is told how many more are answered.
    """
    made = engine.generate([prompt.content for prompt in prompts], decoding, advance)
    read = [_read(reader, *pair) for pair in zip(prompts, made, strict=True)]
    # Special tokens end a turn, and stand in no reasoning.
    kept = tuple(text for text in decoding.stop if reader.is_special(text))
    cut = [
        place
        for place, reply in enumerate(read)
        if reply.generated and not reply.answer and reply.finish == "stop"
    ]
    if not cut or kept == decoding.stop:
        return read
    longer = decoding.model_copy(update={"stop": kept})
    again = engine.generate([prompts[place].content for place in cut], longer)
    for place, generation in zip(cut, again, strict=True):
        whole = _read(reader, prompts[place], generation)
        read[place] = _cut(whole, decoding.stop)
    return read


def drawings(decoding: Decoding, samples: int) -> Iterator[Decoding]:
    """How each of several answers to a question is drawn.

    The first is drawn as a single one would be; all follow from the seed and the prompt.

    Args:
        decoding: how one answer is drawn.
        samples: how many answers there are.
    """
    for number in range(samples):
        strategy = decoding.strategy
        if number and isinstance(strategy, Sampling):
            seed = derive(strategy.seed, "sample", number)
            strategy = strategy.model_copy(update={"seed": seed})
        yield decoding.model_copy(update={"strategy": strategy})


def require_draws(strategy: Strategy, samples: int) -> None:
    """Refuse several answers that would all be the same.

    Raises:
        UsageError: they are not drawn.
    """
    if samples > 1 and not isinstance(strategy, Sampling):
        raise UsageError(
            f"{samples} samples of each answer would be equal: their decoding is "
            f"{strategy.strategy}",
            where="evaluate.samples",
            fix="set its strategy to sampling: evaluate.decoding.strategy=sampling",
        )


def require_enough(metrics: Iterable[Metric], samples: int) -> None:
    """Refuse a metric of more answers to a question than there will be.

    Raises:
        UsageError: there is one.
    """
    for metric in metrics:
        if samples < metric.least_answers:
            raise UsageError(
                f"{metric.name} needs {metric.least_answers} answers to each question, but there "
                f"are {samples}",
                where="evaluate.samples",
                fix=f"set evaluate.samples to {metric.least_answers} or more",
            )


def as_one_of(name: str, group: str, number: int) -> dict[str, str]:
    """What a sample record says of the answer with this number, of several to a question.

    They are one observation, and scored together.

    Args:
        name: the id of the question.
        group: what the question is of; empty where it stands for itself.
        number: from 1.
    """
    return {"id": f"{name}#{number}", "question_id": name, "group": group or name}


def count_unfinished(samples: Sequence[SampleRecord]) -> int:
    """The number of answers that there are not, because reasoning did not end."""
    return sum(bool(sample.generated) and not sample.prediction for sample in samples)


def tell_unfinished(samples: Sequence[SampleRecord], console: Console) -> int:
    """Count as `count_unfinished` does, and say so where there are some."""
    unfinished = count_unfinished(samples)
    if unfinished:
        console.warn(
            f"{unfinished:,} of {len(samples):,} answers end before their reasoning does; raise "
            "evaluate.max_new_tokens"
        )
    return unfinished


def _read(reader: AnswerReader, prompt: Prompt, made: Generation) -> Reply:
    answer = reader.answer(made.text, made.ids, prompt.text)
    generated = made.text if made.text.strip() != answer else ""
    return Reply(answer, generated, made.finish, len(made.ids))


def _cut(reply: Reply, stops: Sequence[str]) -> Reply:
    before = before_stop(reply.answer, stops)
    if before is None:
        return reply
    return Reply(before.strip(), reply.generated, "stop", reply.tokens)
