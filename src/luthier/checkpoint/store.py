"""Saving and finding checkpoints: safetensors and JSON, written beside and moved into place.

A checkpoint is a folder with ``tensors.safetensors``, ``state.json`` and ``manifest.json`` (the
SHA-256 of the other two). It is written under a temporary name, flushed to the disk, and renamed,
so a folder with the final name was written whole; the manifest finds what happened to it later.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from luthier.core.console import Console
from luthier.core.errors import DataError, LuthierError
from luthier.core.files import file_sha256, read_json, unwritable, write_json

_TENSORS, _STATE, _MANIFEST = "tensors.safetensors", "state.json", "manifest.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A verified checkpoint."""

    path: Path
    state: dict[str, Any]

    def tensors(self) -> dict[str, torch.Tensor]:
        """The saved tensors, on the CPU."""
        return load_file(self.path / _TENSORS)


def save_checkpoint(
    folder: Path, name: str, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]
) -> Path:
    """Write the checkpoint ``folder/name``, replacing one of that name.

    Args:
        folder: the folder of checkpoints.
        name: such as ``step-000100``.
        tensors: what to save; moved to the CPU.
        state: JSON values.

    Raises:
        ResourceError: the disk is full or the folder cannot be written. What was there stays.
    """
    partial, target = folder / f".tmp-{name}", folder / name
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file({key: _plain(value) for key, value in tensors.items()}, partial / _TENSORS)
        write_json(partial / _STATE, dict(state))
        write_json(partial / _MANIFEST, {f: file_sha256(partial / f) for f in (_TENSORS, _STATE)})
        _flush(partial / _TENSORS)
        _flush(partial)
        aside = folder / f".old-{name}"
        shutil.rmtree(aside, ignore_errors=True)
        if target.exists():
            target.rename(aside)
        partial.rename(target)
        _flush(folder)
        shutil.rmtree(aside, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise unwritable(target, error) from error
    return target


def load_checkpoint(path: Path) -> Checkpoint:
    """Open the checkpoint at ``path``.

    Raises:
        DataError: it is missing, or a file is not what was saved.
    """
    manifest = read_json(path / _MANIFEST)
    for file in (_TENSORS, _STATE):
        expected = manifest.get(file) if isinstance(manifest, dict) else None
        if not (path / file).is_file() or file_sha256(path / file) != expected:
            raise DataError("this file is not what was saved", where=str(path / file))
    return Checkpoint(path, read_json(path / _STATE))


def latest_checkpoint(folder: Path, console: Console) -> Checkpoint | None:
    """The newest ``step-…`` checkpoint that verifies; damaged ones are set aside, and said so."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            return load_checkpoint(path)
        except LuthierError as error:
            damaged = path.with_name(f"damaged-{path.name}")
            shutil.rmtree(damaged, ignore_errors=True)
            path.rename(damaged)
            console.warn(f"set a damaged checkpoint aside: {error}")
    return None


def prune_checkpoints(folder: Path, keep: int) -> None:
    """Delete all but the ``keep`` newest ``step-…`` checkpoints."""
    for path in sorted(folder.glob("step-*"), reverse=True)[keep:]:
        shutil.rmtree(path)


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu").contiguous()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
