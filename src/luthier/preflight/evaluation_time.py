"""The planned time of evaluations."""

from __future__ import annotations

import statistics
from math import ceil

from luthier.context.evaluation_task import evaluation_task
from luthier.context.run_context import RunContext
from luthier.models.device import default_device, resolve_dtype
from luthier.planning.evaluation import EvaluationWork, distinct_prefix_tokens, evaluation_seconds
from luthier.planning.from_config import tuning_of
from luthier.planning.hardware import Cluster
from luthier.planning.training_setup import TrainingSetup, precision_in_memory
from luthier.preflight.job_plan import architecture_of, device_in_use

_MOST_EXAMPLES = 200
"""Examples whose prompts are rendered; the others are assumed to be alike."""


def planned_evaluation_seconds(context: RunContext, shots: int) -> float | None:
    """Seconds of an evaluation of the base model on the test examples, at most.

    An adapter changes the time by little. Generated answers are assumed to reach their limit.

    Args:
        context: data, prompts, model and settings.
        shots: the number of few-shot examples in each prompt.

    Returns:
        The seconds; None if the model or the speed of the device is unknown to the planner.
    """
    architecture, device = architecture_of(context), device_in_use()
    config = context.config
    dtype = str(resolve_dtype(config.model.dtype, default_device())).removeprefix("torch.")
    if architecture is None or architecture.is_encoder_decoder:
        return None
    if device is None or dtype not in device.flops:
        return None
    task = evaluation_task(context, shots)
    examples = task.examples[:_MOST_EXAMPLES]
    read = task.mode.token_sequences(context.renderer.tokenised(), examples)
    length = ceil(statistics.mean(map(len, read)))
    times = len(task.examples) / len(examples)
    limit = task.mode.generated_tokens
    work = EvaluationWork(
        read_tokens=ceil(distinct_prefix_tokens(read) * times),
        answers=len(task.examples),
        answer_tokens=limit,
        rows=max(1, config.evaluate.batch_tokens // (length + limit)),
    )
    setup = TrainingSetup(
        tuning=tuning_of("full", config.methods, architecture),
        precision=precision_in_memory(config.model.quantisation, dtype=dtype),
        length=length,
        on_cpu=device.is_cpu,
        fused_loss=True,
    )
    return evaluation_seconds(work, architecture, setup, Cluster(device))
