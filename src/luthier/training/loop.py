"""The training loop, from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, Literal

from luthier.config import TrainConfig
from luthier.core.console import Console
from luthier.core.errors import DivergedError, PreemptedError
from luthier.core.interrupt import StopRequest, stop_on_signals
from luthier.data.batches import ExampleOrder
from luthier.models.cache_support import rope_of_each_pass
from luthier.models.device import PeakMemory, is_out_of_memory
from luthier.models.quantised import parameter_count
from luthier.records.training import TrainingRecord
from luthier.training.activation_checkpointing import checkpoint_activations
from luthier.training.compiling import compiled_layers
from luthier.training.guards import Guards
from luthier.training.job import TrainingJob
from luthier.training.loss_scale import loss_scaling
from luthier.training.micro_batch_search import fit_micro_batch, halve_after
from luthier.training.objectives import Trainable
from luthier.training.observers import (
    Observer,
    ProgressObserver,
    RunLogger,
    StepMetrics,
    WarningObserver,
)
from luthier.training.optimizer import make_optimizer
from luthier.training.schedule import learning_rate_factor, validation_steps
from luthier.training.state import Progress, TrainingState
from luthier.training.step import StepResult, optimizer_step
from luthier.training.weights import TrainedWeights

Stop = Literal["finished", "early", "time", "forgetting"]


def train(job: TrainingJob, console: Console, observers: Sequence[Observer] = ()) -> TrainingRecord:
    """Train, or resume from the newest checkpoint, and leave the best weights in the model.

    A resumed training gives bit-identical results: order, dropout and schedule are functions of the
    step.

    Raises:
        DivergedError: a guard stopped the training, and no state is worth keeping.
        DataError: the examples have no trained tokens.
        PreemptedError: a signal requested a stop; a checkpoint was saved.
        UsageError: the run directory has a checkpoint of another configuration.
    """
    order = job.order
    total_steps = job.total_steps
    processes = job.parallelism.processes
    weights = TrainedWeights(job.loaded.model, job.train.master_weights)
    job.objective.require_trained_tokens(job.examples)
    guards = Guards(job.train.guards, processes)
    optimizer, companion = make_optimizer(weights, job), job.companion(total_steps)
    progress = Progress(packed=job.packed, compiled=job.compiled)
    scaling = loss_scaling(job.loaded.model)
    state = TrainingState(job, weights, optimizer, guards, companion, progress, scaling)
    memory = PeakMemory(job.loaded.device)
    checkpoint_activations(job.loaded.model, job.train.activation_checkpointing)
    resumed = state.resume(console)
    if job.limits.memory is not None and not resumed:
        fit_micro_batch(state, console)
        state.keep_micro_batch()
    with (
        # A step must not depend on the lengths of earlier texts.
        rope_of_each_pass(job.loaded.model),
        compiled_layers(state, console, resumed=resumed),
        stop_on_signals() as request,
        console.progress(
            f"Training {job.method_name}", total_steps, done=state.progress.step
        ) as advance,
    ):
        told: list[Observer] = [RunLogger(job.run), ProgressObserver(advance)]
        told += [WarningObserver(console), *observers]
        audience = _Audience(told if processes.is_first else [])
        audience.on_event("resume" if resumed else "start", step=state.progress.step)
        # Findings before an interruption count too.
        stopped = (
            "forgetting"
            if state.has_forgotten
            else _run(order, total_steps, state, audience, request, memory)
        )
        peak = processes.largest(memory.read())
        state.progress.peak_memory_bytes = max(state.progress.peak_memory_bytes, peak)
        state.save()  # a finished training can be extended
    # Also in the last step, because the signal is meant for the whole program. Checked last.
    (asked,) = processes.any(request.is_set)
    if asked:
        who = request.signal_name if request.is_set else "a signal to another process"
        raise PreemptedError(
            f"stopped by {who} after step {state.progress.step} of {total_steps}",
            where=str(job.run.path),
            fix="run the same command again to continue from here",
        )
    state.restore_best()
    return _record(job, state, total_steps, order, stopped or "finished")


def _run(
    order: ExampleOrder,
    total_steps: int,
    state: TrainingState,
    audience: _Audience,
    request: StopRequest,
    memory: PeakMemory,
) -> Stop | None:
    """Run steps until the end, an early stop, or a stop request (None)."""
    job, progress = state.job, state.progress
    validates_after = validation_steps(total_steps, job.train)
    last_save = time.monotonic()
    while progress.step < total_steps:
        if job.train.patience and progress.validations_since_best >= job.train.patience:
            return "early"
        started = time.monotonic()
        rate = job.method.learning_rate * learning_rate_factor(
            progress.step, total_steps, job.train
        )
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        batch = [job.examples[i] for i in order.step(progress.step)]
        try:
            result = _take_step(state, batch, audience)
        except DivergedError:
            audience.on_event("diverged", step=progress.step + 1, examples=[e.id for e in batch])
            raise
        finally:
            _tell_findings(state, batch, audience)
        progress.step += 1
        seconds = time.monotonic() - started
        _count(state, result, seconds)
        if result.overflowed:
            audience.on_event("overflow", step=progress.step, loss_scale=state.scaling.scale)
        if result.updated:
            audience.on_step(_metrics(job, progress.step, result, rate, seconds, memory.read()))

        if (job.validation or job.watched) and progress.step in validates_after:
            started = time.monotonic()
            _validate(state, audience)
            progress.seconds += time.monotonic() - started
        # Clocks and signals differ between processes, but their decisions must not.
        asked, is_late, save_is_due = job.parallelism.processes.any(
            request.is_set,
            bool(job.train.max_time and progress.seconds >= job.train.max_time),
            _save_is_due(job.train, progress.step, time.monotonic() - last_save),
        )
        if asked:
            return None
        if state.has_forgotten:
            return "forgetting"
        if is_late:
            return "time" if progress.step < total_steps else "finished"
        if save_is_due:
            state.save()
            audience.on_event("checkpoint", step=progress.step)
            last_save = time.monotonic()
    return "finished"


def _save_is_due(config: TrainConfig, step: int, seconds: float) -> bool:
    """Whether to save a checkpoint after ``step``, ``seconds`` after the last one."""
    every = config.checkpoint_every_steps
    return seconds >= config.checkpoint_every or (every is not None and step % every == 0)


def _take_step(state: TrainingState, batch: Sequence[Trainable], audience: _Audience) -> StepResult:
    """The result of a step; if memory runs out, it is repeated with smaller forward passes."""
    state.job.loaded.model.train()
    while True:
        try:
            return optimizer_step(
                state.job,
                state.weights,
                state.optimizer,
                batch,
                state.progress.step,
                state.guards,
                state.companion,
                state.scaling,
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            tokens = halve_after(error, state)
            audience.on_event("memory", step=state.progress.step + 1, micro_batch_tokens=tokens)


def _validate(state: TrainingState, audience: _Audience) -> None:
    """Save the state if it is the best so far and has not forgotten too much."""
    job, progress = state.job, state.progress
    if job.watched:
        _watch(state, audience)
        if state.has_forgotten:
            return
    if not job.validation:
        progress.best_step = progress.step
        state.save_best()
        return
    loss, of_sources = _validation_loss(state)
    progress.validations_since_best += 1
    if progress.best_loss is None or loss < progress.best_loss:
        progress.best_loss, progress.best_step = loss, progress.step
        progress.validations_since_best = 0
        state.save_best()
    audience.on_event("validation", step=progress.step, loss=loss, **of_sources)


def _validation_loss(state: TrainingState) -> tuple[float, dict[str, dict[str, float]]]:
    """The validation loss, and with several sources ``sources``: the loss of each."""
    job = state.job
    parts: dict[str, list[Trainable]] = {}
    for example in job.validation:
        parts.setdefault(example.source, []).append(example)
    if len(parts) < 2:
        return _finite_loss(state, job.validation, "validation loss"), {}
    losses = {
        source: _finite_loss(state, part, f"validation loss of {source}")
        for source, part in parts.items()
    }
    weights = {
        source: math.fsum(map(job.objective.loss_weight, part)) for source, part in parts.items()
    }
    weighted = math.fsum(losses[source] * weights[source] for source in parts)
    return weighted / math.fsum(weights.values()), {"sources": losses}


def _watch(state: TrainingState, audience: _Audience) -> None:
    """Measure the loss on the general texts that the guard watches."""
    job, progress = state.job, state.progress
    loss = _finite_loss(state, job.watched, "loss on general text")
    progress.forgotten = loss - job.watched_loss
    audience.on_event("forgetting", step=progress.step, rise=progress.forgotten)
    if state.has_forgotten:
        limit = job.train.guards.max_forgetting
        audience.on_event(
            "guard",
            step=progress.step,
            kind="forgetting",
            action="stop",
            message=f"the loss on general text has risen by {progress.forgotten:.3f} nats per "
            f"{job.objective.unit} after step {progress.step}, more than {limit:g}; the training "
            "ends, and the best state before is kept",
            examples=[],
        )


def _finite_loss(state: TrainingState, examples: Sequence[Trainable], called: str) -> float:
    job = state.job
    loss = job.objective.mean_loss(
        job.loaded.model, examples, job.loaded.device, job.micro_batch_tokens, job.parallelism
    )
    if not math.isfinite(loss):
        raise DivergedError(
            f"the {called} is not finite after step {state.progress.step} ({loss})",
            where=str(job.run.path),
            fix="lower the learning rate; the last checkpoint is from before",
        )
    return loss


def _count(state: TrainingState, result: StepResult, seconds: float) -> None:
    progress = state.progress
    progress.seconds += seconds
    if not result.updated:
        return
    progress.trained_tokens += result.trained_tokens
    progress.processed_tokens += result.processed_tokens
    progress.last_loss = result.loss
    if progress.first_loss is None:
        progress.first_loss = result.loss


def _tell_findings(state: TrainingState, batch: Sequence[Trainable], audience: _Audience) -> None:
    """Report the guards' findings in the current step, with its examples."""
    for found in state.guards.take_findings():
        audience.on_event(
            "guard",
            step=state.progress.step + 1,
            kind=found.kind,
            action=found.action,
            message=found.message,
            examples=[example.id for example in batch],
        )


def _metrics(
    job: TrainingJob, step: int, result: StepResult, rate: float, seconds: float, memory: int
) -> StepMetrics:
    speed, peak = result.processed_tokens / seconds, job.limits.tokens_per_second
    return StepMetrics(
        step=step,
        loss=result.loss,
        learning_rate=rate,
        gradient_norm=result.gradient_norm,
        tokens=result.processed_tokens,
        tokens_per_second=speed,
        seconds=seconds,
        memory_bytes=memory,
        mfu=speed / peak if peak else None,
    )


def _record(
    job: TrainingJob, state: TrainingState, total_steps: int, order: ExampleOrder, stopped: Stop
) -> TrainingRecord:
    progress = state.progress
    if stopped == "forgetting" and not progress.best_step:
        raise DivergedError(
            "forgetting exceeded train.guards.max_forgetting already at the first validation",
            where=str(job.run.path),
            fix="lower the learning rate, mix in general text with data.replay, validate more "
            "often, or raise the limit",
        )
    if progress.first_loss is None or progress.last_loss is None:
        raise DivergedError(
            "every step was skipped, so nothing was trained", where=str(job.run.path)
        )
    return TrainingRecord(
        method=job.method_name,
        fingerprint=job.fingerprint,
        trained_parameters=state.weights.count,
        total_parameters=parameter_count(job.loaded.model),
        artifact_bytes=0,
        steps=progress.step,
        planned_steps=total_steps,
        epochs=progress.step / order.steps_per_epoch,
        examples=order.num_examples - (job.sources.num_general if job.sources else 0),
        batch_size=order.batch_size,
        replayed=job.sources.num_replayed if job.sources else 0,
        trained_tokens=progress.trained_tokens,
        processed_tokens=progress.processed_tokens,
        best_step=progress.best_step or progress.step,
        best_validation_loss=progress.best_loss,
        first_loss=progress.first_loss,
        last_loss=progress.last_loss,
        stopped=stopped,
        overflows=state.scaling.state.overflows,
        seconds=progress.seconds,
        peak_memory_bytes=progress.peak_memory_bytes,
        extensions=state.extensions,
    )


class _Audience:
    """All observers combined."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def on_step(self, metrics: StepMetrics) -> None:
        for observer in self._observers:
            observer.on_step(metrics)

    def on_event(self, event: str, **values: Any) -> None:
        for observer in self._observers:
            observer.on_event(event, **values)
