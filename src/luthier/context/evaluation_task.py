"""The evaluation task of a run: its test examples, metrics and answer mode."""

from __future__ import annotations

from luthier.context.answer_mode import drawn_shots, mode_of
from luthier.context.run_context import RunContext
from luthier.data.splits import SplitName
from luthier.evaluation import EvaluationTask


def evaluation_task(context: RunContext, shots: int, split: SplitName = "test") -> EvaluationTask:
    """The task to answer a split, with ``shots`` few-shot examples before each question.

    Raises:
        DataError: there are too few training examples to draw from, or a metric does not apply.
    """
    drawn = drawn_shots(context, shots)
    return EvaluationTask(
        name=context.dataset.task,
        split=split,
        examples=tuple(map(drawn.before, context.dataset.split(split))),
        template=context.template,
        shots=shots,
        chat_template=context.renderer.use_chat_template,
        metrics=context.metrics,
        mode=mode_of(context, drawn),
    )
