"""Tune a base model with one method, and leave what was made in the run directory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from luthier.config import RunConfig
from luthier.config.methods import MethodName
from luthier.core.console import Console
from luthier.core.files import folder_bytes
from luthier.core.records import TrainingRecord
from luthier.core.run_directory import RunDirectory
from luthier.core.seeds import derive
from luthier.data.problems import Dropped
from luthier.methods import method_for, save_adapted
from luthier.models.load import LoadedModel
from luthier.prompts.render import TrainingExample
from luthier.train.job import TrainingJob
from luthier.train.loop import train
from luthier.train.observers import Observer

_WEIGHT_FILES = (".safetensors", ".bin")


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Tokenised examples, those left out, and a fingerprint of what decides the training."""

    train: tuple[TrainingExample, ...]
    validation: tuple[TrainingExample, ...]
    fingerprint: str
    dropped: tuple[Dropped, ...] = ()


def tune(
    base: LoadedModel,
    method_name: MethodName,
    config: RunConfig,
    data: TrainingData,
    run: RunDirectory,
    console: Console,
    observers: Sequence[Observer] = (),
) -> tuple[LoadedModel, TrainingRecord]:
    """Prepare, train and save.

    Args:
        base: the base model; it is changed.
        method_name: which method.
        config: its settings, the loop's, and the seed.
        data: what to train on.
        run: receives ``metrics.jsonl``, ``checkpoints/``, ``model/`` and ``training.json``.
        console: shows progress.
        observers: told about each step.

    Returns:
        The tuned model, and the record of the training.

    Raises:
        DivergedError, PreemptedError, UsageError: as `luthier.train.train`.
        ResourceError: the run directory cannot be written.
    """
    torch.manual_seed(derive(config.seed, "initialise", method_name))
    model = method_for(method_name, config.methods).prepare(base)
    job = TrainingJob(
        loaded=dataclasses.replace(base, model=model),
        method_name=method_name,
        method=config.methods.of(method_name),
        train=config.train,
        examples=data.train,
        validation=data.validation,
        seed=config.seed,
        run=run,
        fingerprint=data.fingerprint,
    )
    record = train(job, console, observers)
    save_adapted(job.loaded, run.model)
    record = record.model_copy(update={"artifact_bytes": folder_bytes(run.model, _WEIGHT_FILES)})
    record.write(run.training)
    job.loaded.model.eval()
    return job.loaded, record
