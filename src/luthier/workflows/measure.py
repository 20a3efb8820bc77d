"""Measuring a model on a run's test examples, for evaluate and every rung of a ladder."""

from __future__ import annotations

from luthier.context.evaluated_model import EvaluatedModel, in_memory, model_predictor
from luthier.context.evaluation_task import evaluation_task
from luthier.context.run_context import RunContext
from luthier.core.console import Console
from luthier.evaluation import (
    Evaluation,
    EvaluationTask,
    Resampling,
    evaluate_task,
    with_clean_part,
    with_details,
    write_evaluation,
)
from luthier.evaluation.forgetting import measure_general
from luthier.evaluation.predicting.base import Predictor
from luthier.inference import TextLoss
from luthier.models.load import LoadedModel
from luthier.records.contamination import Contamination
from luthier.records.evaluation import ModelStamp
from luthier.records.result_cache import ResultCache
from luthier.records.run_directory import RunDirectory


def resampling_of(context: RunContext) -> Resampling:
    """The settings of the run's intervals and tests."""
    return Resampling.of(context.config.evaluate, context.config.seed)


def measure_model(
    context: RunContext,
    shots: int,
    run: RunDirectory,
    model: EvaluatedModel,
    console: Console,
    adapter: str = "",
    contamination: Contamination | None = None,
) -> Evaluation:
    """Answer the test examples, score the answers, and store both in ``run``.

    Answers are stored as they are generated. After an interruption, the same call continues;
    finished answers are not repeated as long as model, prompts and settings are unchanged.

    Args:
        context: data, prompts and settings.
        shots: number of shots before each question.
        run: the run directory for answers and metrics.
        model: a loaded model, or one on a server.
        console: shows progress.
        adapter: the adapter on the model, if any.
        contamination: the test examples that overlap with the training data.

    Raises:
        DataError: prompts leave no room for their answers; lists all of them.
        ResourceError: the run directory is not writable.
    """
    task = evaluation_task(context, shots)
    cache = ResultCache(run.answers(task.name))
    predictor = model_predictor(model, context.renderer, task.mode, cache)
    return measure_predictor(
        context, task, run, predictor, model.stamp, console, adapter, contamination
    )


def measure_predictor(
    context: RunContext,
    task: EvaluationTask,
    run: RunDirectory,
    predictor: Predictor,
    stamp: ModelStamp,
    console: Console,
    adapter: str = "",
    contamination: Contamination | None = None,
) -> Evaluation:
    """Answer the examples of a task, score the answers, and store both in ``run``.

    Args:
        context: the settings of the statistics.
        task: the examples and metrics.
        run: the run directory for answers and metrics.
        predictor: a model with its prompts, or a baseline.
        stamp: the name and version of the model or the baseline.
        console: shows progress.
        adapter: the adapter on the model, if any.
        contamination: the test examples that overlap with the training data.

    Raises:
        DataError: prompts leave no room for their answers; lists all of them.
        ResourceError: the run directory is not writable.
    """
    resampling = resampling_of(context)
    evaluation = evaluate_task(predictor, task, stamp, resampling, console, adapter=adapter)
    evaluation = with_clean_part(evaluation, task, contamination, resampling)
    evaluation = with_details(evaluation, resampling, context.config.evaluate.abstain, console)
    write_evaluation(run, evaluation.record, evaluation.samples)
    return evaluation


def general_losses(context: RunContext, run: RunDirectory, loaded: LoadedModel) -> list[TextLoss]:
    """The loss of a model on each general text, cached in ``run``.

    Raises:
        DataError: there is no general text, or one is too short.
        ResourceError: the run directory is not writable.
    """
    engine = in_memory(loaded, context.config.evaluate).engine(ResultCache(run.general_losses))
    return measure_general(engine, [text.ids for text in context.general_texts])
