"""The evaluation of a run: its test examples, and how their answers are generated."""

from __future__ import annotations

from luthier.config import Decoding
from luthier.context.run_context import RunContext
from luthier.data.splits import SplitName
from luthier.evaluation import EvaluationTask
from luthier.prompts.shots import choose_shots, with_shots


def decoding_of(setup: RunContext, shots: int) -> Decoding:
    """How answers are generated after so many worked examples."""
    limit = setup.config.evaluate.max_new_tokens or setup.dataset.template.max_new_tokens
    stop = setup.config.evaluate.stop
    if stop is None:
        stop = setup.renderer.stop_strings(setup.dataset.train) if shots else ()
    return Decoding(max_new_tokens=limit, stop=stop, strategy=setup.config.strategy)


def evaluation_task(setup: RunContext, shots: int, split: SplitName = "test") -> EvaluationTask:
    """The held-out examples with ``shots`` worked examples before each question.

    Raises:
        DataError: there are too few training examples to show, or a metric does not apply.
    """
    shown = choose_shots(setup.dataset.train, shots, setup.config.seed)
    return EvaluationTask(
        name=setup.dataset.task,
        split=split,
        examples=tuple(with_shots(e, shown) for e in setup.dataset.split(split)),
        template=setup.template,
        shots=shots,
        chat_template=setup.renderer.use_chat_template,
        metrics=setup.metrics,
        decoding=decoding_of(setup, shots),
        samples=setup.config.evaluate.samples,
    )
