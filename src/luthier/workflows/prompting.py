"""Prompting a model directly: in-context learning without evaluation."""

from __future__ import annotations

from luthier.config import Decoding, RunConfig
from luthier.context.answer_mode import decoding_of
from luthier.context.evaluated_model import EvaluatedModel, in_memory
from luthier.context.found_model import find_model
from luthier.context.manifest import check_template
from luthier.context.prepare import prepare_evaluation
from luthier.context.run_context import RunContext
from luthier.context.run_or_model import Target
from luthier.core.console import Console
from luthier.core.example import Example, Message
from luthier.evaluation.settings import require_reach
from luthier.methods import load_adapted
from luthier.prompts.shots import choose_shots, with_shots
from luthier.records.evaluation import SampleRecord

_OWN_QUESTION_TOKENS = 256


def ask_model(
    config: RunConfig, console: Console, target: Target, question: str | None, num: int
) -> tuple[SampleRecord, ...]:
    """Prompts and answers, with the references of test examples.

    Args:
        config: model, data, template and shots.
        console: shows progress.
        target: the run to ask; empty: the configured model.
        question: a question of the user's own; None: the first ``num`` test examples.
        num: number of test examples.

    Raises:
        LuthierError: data, template or model are invalid, or a prompt is too long.
    """
    run, tuned = target.run, target.tuned
    if question is not None and config.prompt.shots == 0:
        found = find_model(config.model, console)
        renderer = found.renderer(config.prompt)
        limit = config.evaluate.max_new_tokens or _OWN_QUESTION_TOKENS
        stop = config.evaluate.stop or ()
        decoding = Decoding(max_new_tokens=limit, stop=stop, strategy=config.strategy)
        examples: tuple[Example, ...] = (_own(question),)
    else:
        context = prepare_evaluation(config, console)
        if run and tuned:
            check_template(run, context, console)
        renderer, found = context.renderer, context.model
        decoding = decoding_of(context, config.prompt.shots)
        examples = _examples(context, question, num)
    if tuned:
        renderer = renderer.with_reserved_positions(config.methods.of(config.method).positions)
    room = decoding.max_new_tokens
    prompts = [renderer.prompt(example, answer_tokens=room) for example in examples]
    base = config.base_of(config.method)
    if tuned:
        require_reach(config.evaluate, "tuned")
        model: EvaluatedModel = in_memory(load_adapted(tuned, base, console), config.evaluate)
    else:
        model = found.load(config.evaluate)
    engine = model.engine()
    with console.progress("Answering", len(prompts)) as advance:
        answers = engine.generate([prompt.content for prompt in prompts], decoding, advance)
    return tuple(
        SampleRecord(
            id=example.id,
            prompt=prompt.text,
            prediction=renderer.reader.answer(answer.text, answer.ids, prompt.text),
            references=example.references,
            scores={},
            finish=answer.finish,
        )
        for example, prompt, answer in zip(examples, prompts, answers, strict=True)
    )


def _examples(context: RunContext, question: str | None, num: int) -> tuple[Example, ...]:
    dataset = context.dataset
    shots = choose_shots(dataset.train, context.config.prompt.shots, context.config.seed)
    asked = dataset.test[:num] if question is None else (_own(question),)
    return tuple(with_shots(example, shots) for example in asked)


def _own(question: str) -> Example:
    return Example(id="question", messages=(Message("user", question),), references=())
