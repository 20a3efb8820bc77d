"""Measuring a model on a run's test examples: what evaluate and every rung of a ladder do."""

from __future__ import annotations

from luthier.context.evaluated_model import EvaluatedModel, in_memory
from luthier.context.evaluation_task import evaluation_task
from luthier.context.run_context import RunContext
from luthier.core.console import Console
from luthier.evaluation import (
    Evaluation,
    Resampling,
    evaluate_task,
    with_clean_part,
    write_evaluation,
)
from luthier.evaluation.forgetting import measure_general
from luthier.inference import TextLoss
from luthier.models.load import LoadedModel
from luthier.records.contamination import Contamination
from luthier.records.result_cache import ResultCache
from luthier.records.run_directory import RunDirectory


def resampling_of(setup: RunContext) -> Resampling:
    """How the run's intervals and tests are made."""
    return Resampling.of(setup.config.evaluate, setup.config.seed)


def measure_model(
    setup: RunContext,
    shots: int,
    run: RunDirectory,
    model: EvaluatedModel,
    console: Console,
    adapter: str = "",
    contamination: Contamination | None = None,
) -> Evaluation:
    """Answer the test examples, judge the answers, and store both in ``run``.

    Answers are stored as they are made. Interrupted, the same call goes on; a finished one asks
    nothing again, as long as model, prompts and settings are what they were.

    Args:
        setup: data, prompts and settings.
        shots: worked examples before each question.
        run: where answers and figures go.
        model: in memory, or on a server.
        console: shows progress.
        adapter: what was put on the model, if anything.
        contamination: the test examples that the training data contains.

    Raises:
        DataError: a prompt leaves no room for its answer; all of them at once.
        ResourceError: the run directory cannot be written.
    """
    task = evaluation_task(setup, shots)
    # A soft prompt takes a part of the window.
    renderer = setup.renderer.within(model.context_window)
    resampling = resampling_of(setup)
    engine = model.engine(ResultCache(run.answers(task.name)))
    stamp = model.stamp
    evaluation = evaluate_task(engine, renderer, task, stamp, resampling, console, adapter=adapter)
    evaluation = with_clean_part(evaluation, task, contamination, resampling)
    write_evaluation(run, evaluation.record, evaluation.samples)
    return evaluation


def general_losses(setup: RunContext, run: RunDirectory, loaded: LoadedModel) -> list[TextLoss]:
    """The loss of a model on each general text, kept in ``run``.

    Raises:
        DataError: there is no general text, or one is too short.
        ResourceError: the run directory cannot be written.
    """
    engine = in_memory(loaded, setup.config.evaluate).engine(ResultCache(run.general_losses))
    return measure_general(engine, [text.ids for text in setup.general_texts])
