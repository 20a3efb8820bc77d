"""Saving and finding checkpoints: safetensors and JSON, written atomically.

A checkpoint is a folder with ``tensors.safetensors``, ``state.json`` and ``manifest.json`` (the
SHA-256 of the other two). It is written under a temporary name, flushed to disk, and renamed, so a
folder with the final name is complete; the manifest detects later damage. The file ``latest``,
which names the newest, is written last.

A training has two kinds of checkpoints: ``step-000100`` to resume from, and ``best-000080`` with
the best weights so far. A checkpoint to resume from is usable only if the preceding best weights
are intact.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from luthier.core.console import Console
from luthier.core.disk import storing
from luthier.core.errors import DataError, LuthierError
from luthier.core.files import file_sha256, read_json, read_text, write_atomically
from luthier.core.folders import new_folder, remove_folder, remove_leftovers, settle_folder
from luthier.core.untrusted import reading_foreign

_TENSORS, _STATE, _MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
_NUMBER = re.compile(r"[0-9]{6,18}")
_LATEST, _STEP, _BEST = "latest", "step", "best"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A verified checkpoint."""

    path: Path
    state: dict[str, Any]

    def tensors(self) -> dict[str, torch.Tensor]:
        """The saved tensors, on the CPU.

        Raises:
            DataError: they cannot be read.
        """
        with reading_foreign("the tensors cannot be read", str(self.path / _TENSORS)):
            return load_file(self.path / _TENSORS)


def save_checkpoint(
    folder: Path, step: int, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]
) -> Path:
    """Write the checkpoint ``folder/step-…`` and name it in ``folder/latest``.

    Args:
        folder: the folder of checkpoints.
        step: number of steps taken.
        tensors: the tensors to save; moved to the CPU.
        state: JSON values.

    Raises:
        ResourceError: the disk is full or the folder is not writable. Existing files are unchanged.
    """
    target = _save(folder, _name(_STEP, step), tensors, state)
    write_atomically(folder / _LATEST, target.name + "\n")
    return target


def save_best(folder: Path, step: int, tensors: Mapping[str, torch.Tensor]) -> Path:
    """Write the best weights so far as ``folder/best-…``.

    Raises:
        ResourceError: as in `save_checkpoint`.
    """
    return _save(folder, _name(_BEST, step), tensors, {"step": step})


def load_best(folder: Path, step: int) -> Checkpoint:
    """The best weights of ``step``.

    Raises:
        DataError: they are missing or damaged.
    """
    return load_checkpoint(folder / _name(_BEST, step))


def load_checkpoint(path: Path) -> Checkpoint:
    """The verified checkpoint at ``path``.

    Raises:
        DataError: it is missing or damaged.
    """
    manifest = read_json(path / _MANIFEST)
    expected = manifest if isinstance(manifest, dict) else {}
    found = {file: _sha256(path / file) for file in (_TENSORS, _STATE)}
    for file, digest in found.items():
        if digest != expected.get(file):
            raise DataError(
                "this file was changed or damaged after it was saved", where=str(path / file)
            )
    if read_text(path / _MANIFEST) != _manifest(found):
        raise DataError(
            "this file was changed or damaged after it was saved", where=str(path / _MANIFEST)
        )
    state = read_json(path / _STATE)
    if not isinstance(state, dict) or not _is_step(state.get("step")):
        raise DataError("this is not the state of a training", where=str(path / _STATE))
    return Checkpoint(path, state)


def newest_step(folder: Path) -> int | None:
    """The step of the newest checkpoint to resume from, unverified; None if there is none."""
    return max(_steps(folder, _STEP), default=None)


def newest_state(folder: Path) -> dict[str, Any] | None:
    """The state of the newest intact checkpoint; unlike `latest_checkpoint`, nothing is renamed."""
    for step in sorted(_steps(folder, _STEP), reverse=True):
        with suppress(DataError):
            return load_checkpoint(folder / _name(_STEP, step)).state
    return None


def latest_checkpoint(folder: Path, console: Console) -> Checkpoint | None:
    """The newest intact ``step-…`` checkpoint; damaged ones are renamed with a warning.

    Newer files are renamed as well, because a resumed training creates them again.

    Raises:
        ResourceError: the folder is not writable.
    """
    with storing(folder):
        return _latest(folder, console)


def prune_checkpoints(folder: Path, keep: int | None) -> None:
    """Delete all but the ``keep`` newest checkpoints, and best weights that none of them needs.

    The newest best weights are always kept. A folder is renamed before it is deleted, so an
    interruption leaves no partial checkpoint; the next save deletes leftovers.

    Args:
        folder: the folder of checkpoints.
        keep: number to keep; None: all.

    Raises:
        ResourceError: the folder is not writable.
    """
    if keep is None:
        return
    with storing(folder):
        steps, best = _steps(folder, _STEP), _steps(folder, _BEST)
        bases = [[b for b in best if b <= step] for step in steps[-keep:]]
        needed = {older[-1] for older in (*bases, best) if older}
        for step in steps[:-keep]:
            remove_folder(folder / _name(_STEP, step))
        for step in best:
            if step not in needed:
                remove_folder(folder / _name(_BEST, step))


def _save(
    folder: Path, name: str, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]
) -> Path:
    target = folder / name
    text = json.dumps(dict(state), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    plain = {key: _plain(value) for key, value in tensors.items()}
    needed = sum(value.nbytes for value in plain.values()) + len(text.encode())
    with storing(target, needed):
        remove_leftovers(folder)
    with new_folder(target, needed) as partial:
        save_file(plain, partial / _TENSORS)
        (partial / _STATE).write_text(text, encoding="utf-8")
        found = {file: _sha256_of_own(partial / file) for file in (_TENSORS, _STATE)}
        (partial / _MANIFEST).write_text(_manifest(found), encoding="utf-8")
    return target


def _sha256_of_own(path: Path) -> str:
    """The SHA-256 of a file just written; a failure is the disk's, not the file's."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _latest(folder: Path, console: Console) -> Checkpoint | None:
    for left in folder.glob(".old-*"):
        settle_folder(folder / left.name.removeprefix(".old-"))
    named = _pointer(folder)
    if named and not (folder / named).is_dir():
        console.warn(f"the newest checkpoint is missing: {folder / named}")
    found = None
    while found is None and (steps := _steps(folder, _STEP)):
        path = folder / _name(_STEP, steps[-1])
        try:
            found = _verified(path, steps[-1])
        except LuthierError as error:
            _set_aside(path)
            console.warn(f"renamed a damaged checkpoint: {error}")
    if found and found.path.name != named:  # the disk was full when it was due
        write_atomically(folder / _LATEST, found.path.name + "\n")
    reached = found.state["step"] if found else -1
    for step in _steps(folder, _BEST):
        if step > reached:
            remove_folder(folder / _name(_BEST, step))
    return found


def _verified(path: Path, step: int) -> Checkpoint:
    """The checkpoint, if it and its best weights are intact."""
    checkpoint = load_checkpoint(path)
    if checkpoint.state.get("step") != step:
        raise DataError("the checkpoint's state is of another step", where=str(path))
    if best := checkpoint.state.get("best_step"):
        if not _is_step(best):
            raise DataError(f"best_step is {best!r}", where=str(path / _STATE))
        load_best(path.parent, best)
    return checkpoint


def _is_step(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _pointer(folder: Path) -> str:
    """The name in ``latest``; empty if that file is missing or damaged."""
    try:
        name = read_text(folder / _LATEST).strip()
    except LuthierError:
        return ""
    return name if name.startswith(f"{_STEP}-") and Path(name).name == name else ""


def _name(kind: str, step: int) -> str:
    return f"{kind}-{step:06d}"


def _steps(folder: Path, kind: str) -> list[int]:
    """The sorted steps of the checkpoints of a kind."""
    names = {path.name for path in folder.glob(f"{kind}-*")}
    numbers = (name.removeprefix(f"{kind}-") for name in names)
    steps = (int(number) for number in numbers if _NUMBER.fullmatch(number))
    return sorted(step for step in steps if _name(kind, step) in names)


def _set_aside(path: Path) -> None:
    damaged = path.with_name(f"damaged-{path.name}")
    if damaged.exists():
        remove_folder(damaged)
    path.rename(damaged)


def _sha256(path: Path) -> str:
    """The SHA-256 of a file; empty if it cannot be read."""
    try:
        return file_sha256(path)
    except (OSError, LuthierError):
        return ""


def _manifest(digests: Mapping[str, str]) -> str:
    return json.dumps(dict(digests), indent=2) + "\n"


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu").contiguous()
