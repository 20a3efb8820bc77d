"""The complete state of a training between two steps, for resuming."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar, cast

import torch
from pydantic import Field, TypeAdapter
from torch import Tensor

from luthier.checkpoint import (
    Checkpoint,
    latest_checkpoint,
    load_best,
    prune_checkpoints,
    save_best,
    save_checkpoint,
)
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.core.files import read_lines
from luthier.core.input_fingerprint import describe_differences
from luthier.core.untrusted import reading_foreign
from luthier.methods.hooks import MethodHooks
from luthier.records.training import Extension
from luthier.training.guards import Guards, GuardState, spoilt_weights
from luthier.training.job import TrainingJob
from luthier.training.loss_scale import LossScaling, ScaleState
from luthier.training.micro_batch_search import halved
from luthier.training.optimizer import load_optimizer_tensors, optimizer_tensors
from luthier.training.weights import TrainedWeights

_T = TypeVar("_T")
_Count = Annotated[int, Field(ge=0)]
_Positive = Annotated[int, Field(gt=0)]


@dataclass(slots=True)
class Progress:
    """Counters of a training. Random generators need no state: each step has its own seed."""

    step: _Count = 0
    trained_tokens: _Count = 0
    processed_tokens: _Count = 0
    seconds: float = 0.0
    first_loss: float | None = None
    last_loss: float | None = None
    best_step: _Count = 0
    best_loss: float | None = None
    validations_since_best: int = 0
    peak_memory_bytes: int = 0
    micro_batch_tokens: _Positive | None = None  # if it was changed
    forgotten: float | None = None  # nats per token, at the last validation
    packed: bool = False  # fixed at the start, like `compiled`
    compiled: bool = False


@dataclass(slots=True)
class TrainingState:
    """Weights, optimizer and counters, and their checkpoints."""

    job: TrainingJob
    weights: TrainedWeights
    optimizer: torch.optim.Optimizer
    guards: Guards
    companion: MethodHooks = field(default_factory=MethodHooks)
    progress: Progress = field(default_factory=Progress)
    scaling: LossScaling = field(default_factory=LossScaling)
    _saved_step: int | None = None

    def save(self) -> None:
        """Write a checkpoint unless this step has one, and delete older ones."""
        if self._saved_step == self.progress.step:
            return
        self._require_finite()
        tensors: dict[str, Tensor] = {f"weights/{k}": v for k, v in self.weights.masters.items()}
        optimizer = optimizer_tensors(self.optimizer, self.weights)
        tensors |= {f"optimizer/{key}": value for key, value in optimizer.items()}
        tensors |= {f"method/{key}": value for key, value in self.companion.tensors().items()}
        state = {
            "fingerprint": self.job.fingerprint,
            "inputs": self.job.inputs,
            "guards": dataclasses.asdict(self.guards.state),
            "loss_scale": dataclasses.asdict(self.scaling.state),
            "optimizer_tensors": len(optimizer),
            **dataclasses.asdict(self.progress),
        }
        folder, step = self.job.run.checkpoints, self.progress.step
        whole = self._collected(tensors)
        if self.job.parallelism.processes.is_first:
            save_checkpoint(folder, step, whole, state)
            prune_checkpoints(folder, self.job.train.keep_checkpoints)
        self.job.parallelism.processes.wait()
        self._saved_step = step

    def _require_finite(self) -> None:
        """Check finiteness on every rank together, so that none waits for one that has failed."""
        parallelism, masters = self.job.parallelism, self.weights.masters.values()
        held = [parallelism.held(master) for master in masters]
        spoilt = not all(bool(part.isfinite().all()) for part in held)
        if any(parallelism.processes.any(spoilt)):
            raise spoilt_weights(self.progress.step)

    def _collected(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Full tensors on the first rank, which writes them; empty elsewhere."""
        parallelism = self.job.parallelism
        collected: dict[str, Tensor] = {}
        for key, value in tensors.items():
            whole = parallelism.whole(value)
            if parallelism.processes.is_first:
                collected[key] = whole
        return collected

    def resume(self, console: Console) -> bool:
        """Whether the training resumed from the newest intact checkpoint.

        Raises:
            UsageError: the checkpoint belongs to another configuration or other data.
            DataError: the checkpoint does not contain the state of this training.
        """
        checkpoint = self._newest(console)
        if checkpoint is None:
            return False
        state, where = dict(checkpoint.state), str(checkpoint.path)
        made_for, inputs = state.pop("fingerprint", ""), state.pop("inputs", {})
        guards, scale = state.pop("guards", {}), state.pop("loss_scale", {})
        count = state.pop("optimizer_tensors", None)
        progress = _stored(Progress, state, where)
        extended = made_for in self._extended_from()
        if made_for != self.job.fingerprint and not extended:
            changed = describe_differences(inputs, self.job.inputs)
            raise UsageError(
                f"this run has a checkpoint of another configuration, model or data:\n{changed}",
                where=str(checkpoint.path),
                fix="give the run another --name, or delete its folder; more epochs or another "
                "learning rate: 'luthier extend'",
            )
        self.guards.state = _stored(GuardState, guards, f'{where}, field "guards"')
        self.scaling.state = _stored(ScaleState, scale, f'{where}, field "loss_scale"')
        self.progress = progress
        tensors = checkpoint.tensors()
        local = self.job.parallelism.local
        with reading_foreign("the tensors do not belong to this training", where):
            self.weights.load(_part(tensors, "weights/"), local)
            optimizer = _part(tensors, "optimizer/")
            if count not in (None, len(optimizer)):
                raise DataError(f"of {count} optimizer states only {len(optimizer)} are present")
            load_optimizer_tensors(self.optimizer, self.weights, optimizer, local)
            self.companion.load(_part(tensors, "method/"))
        self.job = dataclasses.replace(self.job, packed=self.progress.packed)
        self._set_micro_batch(self.progress.micro_batch_tokens)
        if extended:
            # A training that had stopped early continues at least until the next validation.
            self.progress.validations_since_best, self.progress.forgotten = 0, None
        self._saved_step = self.progress.step
        return True

    @property
    def has_forgotten(self) -> bool:
        """Whether the last validation exceeded the limit of forgetting."""
        limit, forgotten = self.job.train.guards.max_forgetting, self.progress.forgotten
        return limit is not None and forgotten is not None and forgotten > limit

    def halve_micro_batch(self) -> None:
        """Halve the tokens per forward pass from now on.

        Raises:
            ResourceError: forward passes are single examples already.
        """
        self._set_micro_batch(halved(self.job))

    def keep_micro_batch(self) -> None:
        """Store the current size of forward passes for a resumed training.

        The gradient does not depend on it, but dropout does.
        """
        self._set_micro_batch(self.job.micro_batch_tokens)

    def _set_micro_batch(self, tokens: int | None) -> None:
        self.progress.micro_batch_tokens = tokens
        if tokens:
            limits = dataclasses.replace(self.job.limits, micro_batch_tokens=tokens)
            self.job = dataclasses.replace(self.job, limits=limits)

    def _newest(self, console: Console) -> Checkpoint | None:
        """The newest intact checkpoint; the first rank looks first and renames damaged ones."""
        processes = self.job.parallelism.processes
        if not processes.is_first:
            processes.wait()
        checkpoint = latest_checkpoint(self.job.run.checkpoints, console)
        if processes.is_first:
            processes.wait()
        return checkpoint

    def _extended_from(self) -> set[str]:
        """Fingerprints of the trainings that explicit extensions led to this one from."""
        made = self.extensions
        if not made or made[-1].fingerprint != self.job.fingerprint:
            return set()
        return {extension.extends for extension in made}

    @property
    def extensions(self) -> tuple[Extension, ...]:
        """The extensions of the original training."""
        lines = read_lines(self.job.run.extensions)
        return tuple(Extension.model_validate(line) for line in lines)

    def save_best(self) -> None:
        """Save the current weights as the best ones."""
        self._require_finite()
        whole, folder = self._collected(self.weights.masters), self.job.run.checkpoints
        if self.job.parallelism.processes.is_first:
            save_best(folder, self.progress.step, whole)
            prune_checkpoints(folder, self.job.train.keep_checkpoints)
        self.job.parallelism.processes.wait()

    def restore_best(self) -> None:
        """Load the best weights into the model; without a validation, the last ones."""
        if self.progress.best_step not in (0, self.progress.step):
            best = load_best(self.job.run.checkpoints, self.progress.best_step)
            with reading_foreign("the tensors do not belong to this training", str(best.path)):
                self.weights.load(best.tensors(), self.job.parallelism.local)
        self.companion.finish()


def _stored(kind: type[_T], values: Any, where: str) -> _T:
    """A validated part of a checkpoint's state; the file is not trusted.

    Raises:
        DataError: a value is missing, unknown or of another type.
    """
    known = {field.name for field in dataclasses.fields(cast(Any, kind))}
    try:
        if not isinstance(values, Mapping) or not known >= set(values):
            raise ValueError("unexpected fields")
        return TypeAdapter(kind).validate_json(json.dumps(values), strict=True)
    except ValueError as error:
        problem = " ".join(str(error).split())
        raise DataError(
            f"this is not the state of a training of this version of Luthier: {problem}",
            where=where,
        ) from None


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
