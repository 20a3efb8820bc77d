"""Atomic checkpoints, verified before use."""

from luthier.checkpoint.store import (
    Checkpoint,
    latest_checkpoint,
    load_best,
    newest_state,
    newest_step,
    prune_checkpoints,
    save_best,
    save_checkpoint,
)

__all__ = [
    "Checkpoint",
    "latest_checkpoint",
    "load_best",
    "newest_state",
    "newest_step",
    "prune_checkpoints",
    "save_best",
    "save_checkpoint",
]
