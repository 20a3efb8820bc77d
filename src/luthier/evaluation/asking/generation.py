"""Generation of answers to a task's questions, and their extraction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from luthier.config import Decoding
from luthier.core.errors import DataError
from luthier.evaluation.asking.ask import Answers, Progress, ask, fits
from luthier.evaluation.asking.encode import TaskEncoder
from luthier.evaluation.predicting.generation import Reply, as_one_of, drawings, replies
from luthier.inference import Engine
from luthier.prompts.prompt import known_tokens
from luthier.records.evaluation import SampleRecord
from luthier.tasks.generation import GenerationTask
from luthier.tasks.item import Question


@fits.register
def _(task: GenerationTask, question: Question, encoder: TaskEncoder[Any]) -> bool:
    """True if the context window has room for an answer of the maximum length."""
    return encoder.has_room(question, task.max_new_tokens)


@ask.register
def _(
    task: GenerationTask,
    engine: Engine,
    encoder: TaskEncoder[Any],
    questions: Sequence[Question],
    progress: Progress,
) -> Answers:
    room = encoder.room_beside(task.max_new_tokens)
    if room is not None and room < 1:
        raise DataError(
            f"answers of {task.max_new_tokens} tokens leave no room for a question in a "
            f"context window of {room + task.max_new_tokens}",
            where=task.name,
            fix="lower max_new_tokens, or use a model with a longer context window",
        )
    fitted = [encoder.prompt(question, task.max_new_tokens) for question in questions]
    prompts = [each.prompt for each in fitted]
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
        prompt_tokens=sum(known_tokens(prompt.content) for prompt in prompts),
        generated_tokens=sum(reply.tokens for drawing in drawn for reply in drawing),
        cut_prompts=sum(each.is_cut for each in fitted),
        cut_answers=sum(reply.finish == "length" for drawing in drawn for reply in drawing),
    )


def _decodings(task: GenerationTask) -> Iterator[Decoding]:
    """The decoding settings of each sample."""
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
