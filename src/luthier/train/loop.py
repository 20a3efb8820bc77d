"""The training loop, from top to bottom."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

from luthier.core.console import Console
from luthier.core.errors import DivergedError, PreemptedError
from luthier.core.interrupt import StopRequest, stop_on_signals
from luthier.core.records import TrainingRecord
from luthier.data.batches import BatchOrder
from luthier.models.device import PeakMemory
from luthier.train.job import TrainingJob
from luthier.train.loss import mean_loss
from luthier.train.observers import Observer, ProgressObserver, RunLogger, StepMetrics
from luthier.train.optimizer import make_optimizer
from luthier.train.schedule import learning_rate_factor
from luthier.train.state import TrainingState
from luthier.train.step import StepResult, optimizer_step
from luthier.train.weights import TrainedWeights

Stop = Literal["finished", "early", "time"]


def train(job: TrainingJob, console: Console, observers: Sequence[Observer] = ()) -> TrainingRecord:
    """Train, or go on from the newest checkpoint, and leave the best weights in the model.

    The result of a training that was interrupted and continued is the same, bit for bit, as that
    of one that was not: order, dropout and schedule are functions of the step.

    Raises:
        DivergedError: a loss or gradient was not finite.
        PreemptedError: a signal asked to stop; a checkpoint was saved.
        UsageError: the run directory holds a checkpoint of another configuration.
    """
    order = BatchOrder(len(job.examples), job.train.batch_size, job.seed)
    total_steps = order.total_steps(job.epochs)
    weights = TrainedWeights(job.loaded.model)
    state = TrainingState(job, weights, make_optimizer(weights, job.method))
    memory = PeakMemory(job.loaded.device)
    if job.train.activation_checkpointing:
        job.loaded.model.gradient_checkpointing_enable({"use_reentrant": False})
    resumed = state.resume(console)
    with (
        stop_on_signals() as request,
        console.progress(f"Training {job.method_name}", total_steps) as advance,
    ):
        audience = _Audience([RunLogger(job.run), ProgressObserver(advance), *observers])
        audience.on_event("resume" if resumed else "start", step=state.progress.step)
        advance(state.progress.step)
        stopped = _run(job, order, total_steps, state, audience, request)
    state.progress.peak_memory_bytes = max(state.progress.peak_memory_bytes, memory.read())
    if request.is_set and stopped is None:
        state.save()
        raise PreemptedError(
            f"stopped by {request.signal_name} after step {state.progress.step} of {total_steps}",
            where=str(job.run.path),
            fix="run the same command again to go on from here",
        )
    state.restore_best()
    return _record(job, state, total_steps, order.steps_per_epoch, stopped or "finished")


def _run(
    job: TrainingJob,
    order: BatchOrder,
    total_steps: int,
    state: TrainingState,
    audience: _Audience,
    request: StopRequest,
) -> Stop | None:
    """Step until the end, a stop, or a request to stop (None)."""
    progress, model = state.progress, job.loaded.model
    validation_steps = _validation_steps(total_steps, job.train.validations)
    last_save = time.monotonic()
    while progress.step < total_steps:
        started = time.monotonic()
        model.train()
        rate = job.method.learning_rate * learning_rate_factor(
            progress.step, total_steps, job.train
        )
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        batch = [job.examples[i] for i in order.step(progress.step)]
        try:
            result = optimizer_step(job, state.weights, state.optimizer, batch, progress.step)
        except DivergedError as error:
            audience.on_event("diverged", step=progress.step, examples=[e.id for e in batch])
            raise error
        progress.step += 1
        seconds = time.monotonic() - started
        _count(state, result, seconds)
        audience.on_step(_metrics(progress.step, result, rate, seconds))

        if job.validation and progress.step in validation_steps:
            started = time.monotonic()
            _validate(job, state, audience)
            progress.seconds += time.monotonic() - started
            if job.train.patience and progress.validations_since_best >= job.train.patience:
                return "early"
        if request.is_set:
            return None  # after the last step too: the signal was meant for the whole program
        if job.train.max_time and progress.seconds >= job.train.max_time:
            state.save()
            return "time" if progress.step < total_steps else "finished"
        if time.monotonic() - last_save >= job.train.checkpoint_every:
            state.save()
            audience.on_event("checkpoint", step=progress.step)
            last_save = time.monotonic()
    return "finished"


def _validation_steps(total_steps: int, count: int) -> frozenset[int]:
    """``count`` steps spread evenly, the last step being one of them."""
    return frozenset(round(total_steps * (i + 1) / count) for i in range(count))


def _validate(job: TrainingJob, state: TrainingState, audience: _Audience) -> None:
    progress = state.progress
    loss = mean_loss(
        job.loaded.model, job.validation, job.loaded.device, job.train.micro_batch_tokens
    )
    progress.validations_since_best += 1
    if progress.best_loss is None or loss < progress.best_loss:
        progress.best_loss, progress.best_step = loss, progress.step
        progress.validations_since_best = 0
        state.save_best()
    audience.on_event("validation", step=progress.step, loss=loss)


def _count(state: TrainingState, result: StepResult, seconds: float) -> None:
    progress = state.progress
    progress.seconds += seconds
    progress.trained_tokens += result.trained_tokens
    progress.processed_tokens += result.processed_tokens
    progress.last_loss = result.loss
    if progress.step == 1:
        progress.first_loss = result.loss


def _metrics(step: int, result: StepResult, rate: float, seconds: float) -> StepMetrics:
    return StepMetrics(
        step=step,
        loss=result.loss,
        learning_rate=rate,
        gradient_norm=result.gradient_norm,
        tokens=result.processed_tokens,
        tokens_per_second=result.processed_tokens / seconds,
        seconds=seconds,
    )


def _record(
    job: TrainingJob, state: TrainingState, total_steps: int, steps_per_epoch: int, stopped: Stop
) -> TrainingRecord:
    progress = state.progress
    return TrainingRecord(
        method=job.method_name,
        fingerprint=job.fingerprint,
        trained_parameters=state.weights.count,
        total_parameters=sum(p.numel() for p in job.loaded.model.parameters()),
        artifact_bytes=0,
        steps=progress.step,
        planned_steps=total_steps,
        epochs=progress.step / steps_per_epoch,
        examples=len(job.examples),
        trained_tokens=progress.trained_tokens,
        processed_tokens=progress.processed_tokens,
        best_step=progress.best_step or progress.step,
        best_validation_loss=progress.best_loss,
        first_loss=progress.first_loss,
        last_loss=progress.last_loss,
        stopped=stopped,
        seconds=progress.seconds,
        peak_memory_bytes=progress.peak_memory_bytes,
    )


class _Audience:
    """All observers as one."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def on_step(self, metrics: StepMetrics) -> None:
        for observer in self._observers:
            observer.on_step(metrics)

    def on_event(self, event: str, **values: Any) -> None:
        for observer in self._observers:
            observer.on_event(event, **values)
