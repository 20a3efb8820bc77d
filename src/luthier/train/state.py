"""The state of a training between two steps: all that a resume needs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import torch
from torch import Tensor

from luthier.checkpoint import latest_checkpoint, save_checkpoint
from luthier.checkpoint.store import load_checkpoint, prune_checkpoints
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.train.job import TrainingJob
from luthier.train.optimizer import load_optimizer_tensors, optimizer_tensors
from luthier.train.weights import TrainedWeights

_KEPT_CHECKPOINTS = 2
_BEST = "best"


@dataclass(slots=True)
class Progress:
    """Counters of a training. Random numbers need no state: each step seeds its own."""

    step: int = 0
    trained_tokens: int = 0
    processed_tokens: int = 0
    seconds: float = 0.0
    first_loss: float = float("nan")
    last_loss: float = float("nan")
    best_step: int = 0
    best_loss: float | None = None
    validations_since_best: int = 0
    peak_memory_bytes: int = 0


@dataclass(slots=True)
class TrainingState:
    """Weights, optimizer and counters, and their checkpoints."""

    job: TrainingJob
    weights: TrainedWeights
    optimizer: torch.optim.Optimizer
    progress: Progress = field(default_factory=Progress)

    def save(self) -> None:
        """Write a checkpoint to resume from, and delete older ones."""
        tensors: dict[str, Tensor] = {f"weights/{k}": v for k, v in self.weights.masters.items()}
        for key, value in optimizer_tensors(self.optimizer, self.weights).items():
            tensors[f"optimizer/{key}"] = value
        state = {"fingerprint": self.job.fingerprint, **dataclasses.asdict(self.progress)}
        folder = self.job.run.checkpoints
        save_checkpoint(folder, f"step-{self.progress.step:06d}", tensors, state)
        prune_checkpoints(folder, _KEPT_CHECKPOINTS)

    def resume(self, console: Console) -> bool:
        """Go on from the newest checkpoint that verifies, if there is one.

        Raises:
            UsageError: it belongs to another configuration or other data.
        """
        checkpoint = latest_checkpoint(self.job.run.checkpoints, console)
        if checkpoint is None:
            return False
        state = dict(checkpoint.state)
        if state.pop("fingerprint") != self.job.fingerprint:
            raise UsageError(
                "this run has a checkpoint of another configuration, model or data",
                where=str(checkpoint.path),
                fix="give the run another --name, or delete its folder",
            )
        tensors = checkpoint.tensors()
        self.weights.load(_part(tensors, "weights/"))
        load_optimizer_tensors(self.optimizer, self.weights, _part(tensors, "optimizer/"))
        self.progress = Progress(**state)
        return True

    def save_best(self) -> None:
        """Keep the weights as they are now as the best ones."""
        save_checkpoint(self.job.run.checkpoints, _BEST, self.weights.masters, {})

    def restore_best(self) -> None:
        """Put the best weights into the model; without a validation these are the last ones."""
        if self.progress.best_loss is not None and self.progress.best_step != self.progress.step:
            best = load_checkpoint(self.job.run.checkpoints / _BEST)
            self.weights.load(best.tensors())


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
