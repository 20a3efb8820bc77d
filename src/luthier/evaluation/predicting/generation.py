"""Generated answers without their reasoning, for a run's data and benchmark tasks alike."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from luthier.config import Decoding
from luthier.config.decoding import Sampling, Strategy
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.example import Example
from luthier.core.seeds import derive
from luthier.evaluation.metrics import Metric
from luthier.evaluation.predicting.base import AnswerMode, Predictions
from luthier.evaluation.predicting.prompts import fitting_prompts
from luthier.inference import Engine, Generation
from luthier.inference.engine import ProgressCallback, before_stop, ignore_progress
from luthier.prompts.answers import AnswerReader
from luthier.prompts.prompt import Prompt, known_tokens
from luthier.prompts.reasoning import answer_only
from luthier.prompts.render import PromptRenderer
from luthier.prompts.renderer import Renderer
from luthier.records.evaluation import SampleRecord
from luthier.tasks.needs import Need, written


@dataclass(frozen=True, slots=True)
class Generating(AnswerMode):
    """Answers are generated.

    Attributes:
        decoding: the decoding settings.
        samples: the number of answers to draw for each question.

    Raises:
        UsageError: several answers are wanted without sampling.
    """

    decoding: Decoding
    samples: int = 1

    def __post_init__(self) -> None:
        require_draws(self.decoding.strategy, self.samples)

    @property
    def gives(self) -> frozenset[Need]:
        """See `AnswerMode.gives`."""
        return written(self.samples)

    @property
    def num_answers(self) -> int:
        """See `AnswerMode.num_answers`."""
        return self.samples

    def answer_tokens(self, renderer: Renderer, examples: Sequence[Example]) -> int:
        """See `AnswerMode.answer_tokens`: the maximum length of an answer."""
        del renderer, examples
        return self.decoding.max_new_tokens

    @property
    def generated_tokens(self) -> int:
        """See `AnswerMode.generated_tokens`."""
        return self.samples * self.decoding.max_new_tokens

    def token_sequences(
        self, renderer: PromptRenderer, examples: Sequence[Example]
    ) -> list[tuple[int, ...]]:
        """See `AnswerMode.token_sequences`: the prompts."""
        room = self.decoding.max_new_tokens
        return [renderer.prompt(example, answer_tokens=room).ids for example in examples]

    def answer(
        self,
        engine: Engine,
        renderer: Renderer,
        examples: Sequence[Example],
        console: Console,
        name: str,
    ) -> Predictions:
        """See `AnswerMode.answer`."""
        prompts = fitting_prompts(renderer, examples, self.decoding.max_new_tokens)
        started, before = time.monotonic(), engine.usage
        with console.progress(f"{name}: answering", len(prompts) * self.samples) as advance:
            drawn = [
                replies(engine, prompts, decoding, renderer.reader, advance)
                for decoding in drawings(self.decoding, self.samples)
            ]
        seconds, usage = time.monotonic() - started, engine.usage.since(before)
        given = [reply for drawing in drawn for reply in drawing]
        truncated = sum(reply.finish == "length" for reply in given)
        samples = tuple(
            _sample(example, prompt, reply, number if self.samples > 1 else 0)
            for example, prompt, *replied in zip(examples, prompts, *drawn, strict=True)
            for number, reply in enumerate(replied, start=1)
        )
        limit = self.decoding.max_new_tokens
        cut = f"{truncated:,} of {len(given):,} answers were cut at {limit:,} tokens"
        return Predictions(
            samples,
            seconds=seconds + usage.seconds,
            prompt_tokens=sum(known_tokens(p.content) for p in prompts) + usage.prompt_tokens,
            generated_tokens=sum(reply.tokens for reply in given) + usage.generated_tokens,
            truncated=truncated,
            notes=(cut,) if truncated else (),
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's reply to a prompt.

    Attributes:
        answer: the text after the reasoning; empty if the reasoning does not end.
        generated: the whole generated text if it is more than the answer, else empty.
        finish: as `Generation.finish`.
        tokens: the number of generated tokens.
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
    """Generate a reply to each prompt, and separate the answers from their reasoning.

    Stop strings end answers, not reasoning, which may contain a blank line or "Question:". If a
    stop string ended a reply within its reasoning, the reply is generated again without stop
    strings. It is then cut at the first stop string after the reasoning. Models without reasoning
    generate once.

    Args:
        engine: the engine that generates.
        prompts: the prompts.
        decoding: the decoding settings.
        reader: finds the answer in a generated text.
        advance: receives the number of further answered prompts.

    Returns:
        The replies, in the order of the prompts.
    """
    made = engine.generate([prompt.content for prompt in prompts], decoding, advance)
    read = [_read(reader, *pair) for pair in zip(prompts, made, strict=True)]
    # Special tokens end a turn and never occur in reasoning, so they stay stop strings.
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
    """The decoding settings of each of several samples per question.

    The first sample equals the answer of a single draw. All samples are determined by the seed and
    the prompt.

    Args:
        decoding: the decoding settings of a single answer.
        samples: the number of answers to each question.
    """
    for number in range(samples):
        strategy = decoding.strategy
        if number and isinstance(strategy, Sampling):
            seed = derive(strategy.seed, "sample", number)
            strategy = strategy.model_copy(update={"seed": seed})
        yield decoding.model_copy(update={"strategy": strategy})


def require_draws(strategy: Strategy, samples: int) -> None:
    """Refuse several answers per question that would all be equal.

    Raises:
        UsageError: there are several answers, but the strategy is not sampling.
    """
    if samples > 1 and not isinstance(strategy, Sampling):
        raise UsageError(
            f"{samples} samples of each answer would be equal: their decoding is "
            f"{strategy.strategy}",
            where="evaluate.samples",
            fix="set its strategy to sampling: evaluate.decoding.strategy=sampling",
        )


def require_enough(metrics: Iterable[Metric], samples: int) -> None:
    """Refuse a metric that needs more answers per question than ``samples``.

    Raises:
        UsageError: a metric needs more answers.
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
    """The ids in the sample record of one of several answers to a question.

    The answers to a question are one observation and are scored together.

    Args:
        name: the id of the question.
        group: the group of the question; empty if it has none.
        number: the number of the answer, from 1.
    """
    return {"id": f"{name}#{number}", "question_id": name, "group": group or name}


def count_unfinished(samples: Sequence[SampleRecord]) -> int:
    """The number of samples without an answer because their reasoning did not end."""
    return sum(bool(sample.generated) and not sample.prediction for sample in samples)


def tell_unfinished(samples: Sequence[SampleRecord], console: Console) -> int:
    """Count as `count_unfinished` does, and warn if the count is not 0."""
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


def _sample(example: Example, prompt: Prompt, reply: Reply, number: int) -> SampleRecord:
    """The record of a reply; ``number`` is 0 if its question has only one reply."""
    alone = {"id": example.id, "group": example.group}
    return SampleRecord(
        **(as_one_of(example.id, example.group, number) if number else alone),
        prompt=prompt.text,
        prediction=reply.answer,
        references=tuple(map(answer_only, example.references)),
        choices=example.choices,
        scores={},
        finish=reply.finish,
        generated=reply.generated,
    )
