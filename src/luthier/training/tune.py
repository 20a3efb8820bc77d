"""Tuning a base model with one method, with the results stored in the run directory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any

from luthier.config import RunConfig
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.files import folder_bytes
from luthier.core.input_fingerprint import Inputs
from luthier.core.method_facts import MethodName
from luthier.data.batches import ExampleOrder
from luthier.data.mixture.order import Sources, with_replay
from luthier.data.problems import Dropped
from luthier.distributed.parallelism import Parallelism, Replicated
from luthier.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from luthier.methods import Method, save_adapted
from luthier.models.load import LoadedModel
from luthier.records.results import set_aside_results
from luthier.records.run_directory import RunDirectory
from luthier.records.training import TrainingRecord
from luthier.training.job import Limits, TrainingJob, initial_model
from luthier.training.loop import train
from luthier.training.objectives import Objective, Trainable
from luthier.training.observers import Observer
from luthier.training.packing import choose_packing
from luthier.training.schedule import example_order
from luthier.training.trackers import tracking

_WEIGHT_FILES = (".safetensors", ".bin")


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The data of a training.

    Attributes:
        train: the tokenised training examples.
        validation: the tokenised examples that select the best state.
        fingerprint: identifies everything that decides the result.
        objective: the loss and the type of example.
        dropped: examples that were left out.
        inputs: the values behind the fingerprint.
        general: texts for replay.
        mixed: the sources of a mixture; None: one source.
        watched: texts for the guard against forgetting; empty if it is off.
        caveats: warnings about the tokens.
    """

    train: tuple[Trainable, ...]
    validation: tuple[Trainable, ...]
    fingerprint: str
    objective: Objective[Any]
    dropped: tuple[Dropped, ...] = ()
    inputs: Inputs = field(default_factory=dict)
    general: tuple[Trainable, ...] = ()
    watched: tuple[Trainable, ...] = ()
    mixed: Sources | None = None
    caveats: tuple[str, ...] = ()

    @property
    def examples(self) -> tuple[Trainable, ...]:
        """All training examples, in the numbering of `order`."""
        return (*self.train, *self.general)

    def sources(self, config: RunConfig) -> Sources | None:
        """The sources of the examples, if they are drawn at rates."""
        return self.mixed or with_replay(len(self.train), len(self.general), config.data.replay)

    def order(self, config: RunConfig) -> ExampleOrder:
        """The assignment of examples to steps."""
        return example_order(config.train, len(self.examples), config.seed, self.sources(config))


def tune(
    base: LoadedModel,
    method_name: MethodName,
    config: RunConfig,
    data: TrainingData,
    run: RunDirectory,
    console: Console,
    observers: Sequence[Observer] = (),
    processes: ProcessGroup = SINGLE_PROCESS,
    limits: Limits | None = None,
) -> tuple[LoadedModel, TrainingRecord]:
    """The tuned model and its record: prepare, train and save.

    With several processes, all return after the first has saved.

    Args:
        base: the base model; it is modified.
        method_name: the tuning method.
        config: the settings of the method and the loop, and the seed.
        data: the training data.
        run: the run directory for ``metrics.jsonl``, ``checkpoints/``, ``model/``,
            ``training.json`` and trackers' files.
        console: shows progress.
        observers: called for each step.
        processes: the process group of the training.
        limits: the limits of the machine, if known.

    Returns:
        The tuned model, of which this process may hold only a shard; and the record.

    Raises:
        DivergedError, PreemptedError, UsageError: as `luthier.training.train`.
        ResourceError: the run directory is not writable.
    """
    method, model = initial_model(base, method_name, config)
    if processes.is_first:
        for note in method.notes:
            console.warn(f"{method_name}: {note}")
    parallelism = _parallelism(config, processes, method, base)
    device = parallelism.place(model, base.device)
    job = TrainingJob(
        loaded=dataclasses.replace(base, model=model, device=device),
        method_name=method_name,
        method=config.methods.of(method_name),
        train=config.train,
        objective=data.objective,
        examples=data.examples,
        validation=data.validation,
        seed=config.seed,
        run=run,
        fingerprint=data.fingerprint,
        inputs=data.inputs,
        parallelism=parallelism,
        limits=limits or Limits(),
        companion=partial(method.hooks, model),
        sources=data.sources(config),
        watched=data.watched,
    )
    job = dataclasses.replace(
        job, packed=choose_packing(job, method), watched_loss=_watched_loss(job, method)
    )
    parallelism.settle(model)
    if job.packed and processes.is_first:
        console.say("  micro-batches are packed")
    with (
        method.while_training(model, repeats=job.repeats),
        tracking(config, method_name, run, console) as trackers,
    ):
        record = train(job, console, [*observers, *trackers])
    state = parallelism.state(model)
    if processes.is_first:
        _replace(run, record, console)
        save_adapted(job.loaded, run.model, state)
        size = folder_bytes(run.model, _WEIGHT_FILES)
        record = record.model_copy(update={"artifact_bytes": size})
        record.write(run.training)
    processes.wait()
    job.loaded.model.eval()
    return job.loaded, record


def _replace(run: RunDirectory, record: TrainingRecord, console: Console) -> None:
    """Archive the results of a previous model before it is replaced."""
    before = TrainingRecord.read(run.training) if run.training.is_file() else None
    identity = attrgetter("fingerprint", "steps")
    is_same = before is not None and identity(before) == identity(record)
    place = None if is_same else set_aside_results(run, before.steps if before else 0)
    if place:
        console.say(f"  the results of the previous model were moved to {place}")
    run.training.unlink(missing_ok=True)


def _watched_loss(job: TrainingJob, method: Method) -> float:
    """The base model's loss on the texts that the guard watches."""
    if not job.watched:
        return 0.0
    model, tokens = job.loaded.model, job.micro_batch_tokens
    # A soft prompt takes effect from the start; other methods change nothing yet.
    with model.disable_adapter() if method.facts.is_soft_prompt else nullcontext():
        return job.objective.mean_loss(
            model, job.watched, job.loaded.device, tokens, job.parallelism
        )


def _parallelism(
    config: RunConfig, processes: ProcessGroup, method: Method, base: LoadedModel
) -> Parallelism:
    if config.train.shards(processes.size):
        if not method.facts.shardable:
            raise UsageError(
                f"{method.name} has weights that cannot be sharded",
                where="train.parallelism",
                fix="choose ddp, or another method",
            )
        if base.stamp.dtype == "int8":
            raise UsageError(
                "int8 layers keep full weights beside their shards, so sharding saves nothing",
                where="train.parallelism",
                fix="choose ddp, or quantise to nf4",
            )
        if config.train.compile is True:
            raise UsageError(
                "compiling is not supported for sharded layers",
                where="train.compile",
                fix="set it to auto, or choose ddp",
            )
        from luthier.distributed.sharded import Sharded

        keeps = config.train.parallelism == "zero2"
        return Sharded(processes, config.train.shard_group, whole_in_pass=keeps)
    return Replicated(processes)
