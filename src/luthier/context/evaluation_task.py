"""The evaluation task of a run: its test examples and decoding settings."""

from __future__ import annotations

from luthier.config import Decoding
from luthier.context.run_context import RunContext
from luthier.data.splits import SplitName
from luthier.evaluation import EvaluationTask
from luthier.prompts.shots import choose_shots, with_shots


def decoding_of(context: RunContext, shots: int) -> Decoding:
    """The decoding settings for prompts with ``shots`` few-shot examples."""
    limit = context.config.evaluate.max_new_tokens or context.dataset.template.max_new_tokens
    stop = context.config.evaluate.stop
    if stop is None:
        stop = context.renderer.stop_strings(context.dataset.train) if shots else ()
    return Decoding(max_new_tokens=limit, stop=stop, strategy=context.config.strategy)


def evaluation_task(context: RunContext, shots: int, split: SplitName = "test") -> EvaluationTask:
    """The task of answering a split, with ``shots`` few-shot examples before each question.

    Raises:
        DataError: there are too few training examples to draw from, or a metric does not apply.
    """
    shown = choose_shots(context.dataset.train, shots, context.config.seed)
    return EvaluationTask(
        name=context.dataset.task,
        split=split,
        examples=tuple(with_shots(e, shown) for e in context.dataset.split(split)),
        template=context.template,
        shots=shots,
        chat_template=context.renderer.use_chat_template,
        metrics=context.metrics,
        decoding=decoding_of(context, shots),
        samples=context.config.evaluate.samples,
    )
