"""Checkpoints that are whole or absent, verified before use."""

from luthier.checkpoint.store import Checkpoint, latest_checkpoint, save_checkpoint

__all__ = ["Checkpoint", "latest_checkpoint", "save_checkpoint"]
