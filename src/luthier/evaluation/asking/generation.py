"""Answers that are generated, and then looked for in what was generated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from luthier.config import Decoding
from luthier.core.errors import DataError
from luthier.evaluation.answering import Reply, as_one_of, drawings, replies
from luthier.evaluation.asking.ask import Answers, Progress, ask, fits
from luthier.evaluation.asking.encode import TextEncoder
from luthier.inference import Engine
from luthier.prompts.render import Prompt
from luthier.records.evaluation import SampleRecord
from luthier.tasks.generation import GenerationTask
from luthier.tasks.item import Question


@fits.register
def _(task: GenerationTask, question: Question, encoder: TextEncoder) -> bool:
    """Whether there is room for the longest answer."""
    room = 0 if encoder.encoder_decoder else task.max_new_tokens
    return len(encoder.ids(question.context)) + room <= encoder.context_window


@ask.register
def _(
    task: GenerationTask,
    engine: Engine,
    encoder: TextEncoder,
    questions: Sequence[Question],
    progress: Progress,
) -> Answers:
    room = encoder.context_window - (0 if encoder.encoder_decoder else task.max_new_tokens)
    if room < 1:
        raise DataError(
            f"answers of {task.max_new_tokens} tokens leave no room for a question in a "
            f"context window of {encoder.context_window}",
            where=task.name,
            fix="lower max_new_tokens, or use a model with a longer context window",
        )
    whole = [encoder.ids(question.context) for question in questions]
    prompts = [
        Prompt(encoder.shortened(ids, room), question.prompt)
        for ids, question in zip(whole, questions, strict=True)
    ]
    with progress("answering", len(prompts) * task.samples) as advance:
        drawn = [
            replies(engine, prompts, each, encoder.reader, advance) for each in _decodings(task)
        ]
    return Answers(
        samples=tuple(
            _sample(task, question, reply, number)
            for question, drawing in zip(questions, zip(*drawn, strict=True), strict=True)
            for number, reply in enumerate(drawing, start=1)
        ),
        prompt_tokens=sum(len(prompt.ids) for prompt in prompts),
        generated_tokens=sum(reply.tokens for drawing in drawn for reply in drawing),
        cut_prompts=sum(len(ids) > room for ids in whole),
        cut_answers=sum(reply.finish == "length" for drawing in drawn for reply in drawing),
    )


def _decodings(task: GenerationTask) -> Iterator[Decoding]:
    """How each of the samples is drawn."""
    decoding = Decoding(max_new_tokens=task.max_new_tokens, stop=task.until, strategy=task.decoding)
    return drawings(decoding, task.samples)


def _sample(task: GenerationTask, question: Question, reply: Reply, number: int) -> SampleRecord:
    found = {name: task.compared(e.find(reply.answer)) for name, e in task.extract.items()}
    accepted = tuple(map(task.compared, question.document.references)) if found else ()
    document, several = question.document, {}
    if task.samples > 1:
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
