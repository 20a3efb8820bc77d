"""Whatever fails while a checkpoint is saved, there is a whole one afterwards."""

from __future__ import annotations

import errno
import io
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.checkpoint import (
    latest_checkpoint,
    load_best,
    prune_checkpoints,
    save_best,
    save_checkpoint,
    store,
)
from luthier.core.console import Console
from luthier.core.errors import ResourceError

_CALLS = ("open", "mkdir", "rename", "replace", "unlink", "rmdir", "fsync", "scandir")


class Crash(BaseException):
    """The process ends here: nothing catches it, nothing is tidied up."""


class _File:
    """A file whose writes may fail."""

    def __init__(self, file: Any, count: Callable[[], None]) -> None:
        self._file, self._count = file, count

    def write(self, text: Any) -> Any:
        self._file.write(text[: len(text) // 2])
        self._count()
        return self._file.write(text[len(text) // 2 :])

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class Faults:
    """Counts the file operations below a folder and lets one fail."""

    def __init__(self, failing: int | None, error: BaseException) -> None:
        self.count, self._failing, self._error = 0, failing, error

    def operation(self) -> None:
        self.count += 1
        if self.count - 1 == self._failing:
            raise self._error

    @contextmanager
    def injected(self) -> Iterator[None]:
        """Every call that opens, writes, flushes, renames or deletes goes through this layer."""
        with pytest.MonkeyPatch.context() as patch:
            for name in _CALLS:
                patch.setattr(os, name, self._counted(getattr(os, name)))
            patch.setattr(io, "open", self._opening(io.open))
            patch.setattr(store, "save_file", self._saving(store.save_file))
            yield

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.operation()
            return call(*arguments, **options)

        return counted

    def _opening(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def opening(*arguments: Any, **options: Any) -> Any:
            self.operation()
            file = call(*arguments, **options)
            return _File(file, self.operation) if "w" in file.mode else file

        return opening

    def _saving(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def saving(tensors: Any, path: Path) -> None:
            self.operation()
            call(tensors, path)
            whole = path.read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
            self.operation()
            path.write_bytes(whole)

        return saving


def tensors(step: int) -> dict[str, torch.Tensor]:
    return {"weights/a": torch.full((64, 8), float(step)), "optimizer/a/step": torch.tensor(step)}


def save(folder: Path, step: int, best: int) -> None:
    """What the loop does after a validation and at a checkpoint."""
    if best == step:
        save_best(folder, step, tensors(step))
        prune_checkpoints(folder, 2)
    save_checkpoint(folder, step, tensors(step), {"step": step, "best_step": best})
    prune_checkpoints(folder, 2)


def begin(folder: Path) -> None:
    for step, best in ((1, 1), (2, 1), (3, 3)):
        save(folder, step, best)


def assert_whole(folder: Path, least: int) -> int:
    """The newest checkpoint that verifies is not older than ``least``; its step."""
    found = latest_checkpoint(folder, Console(quiet=True))
    assert found is not None
    step, best = found.state["step"], found.state["best_step"]
    assert step >= least
    for loaded, expected in ((found, step), (load_best(folder, best), best)):
        for name, value in tensors(expected).items():
            assert torch.equal(loaded.tensors()[name], value)
    return int(step)


def count_operations(folder: Path) -> int:
    begin(folder)
    faults = Faults(None, Crash())
    with faults.injected():
        save(folder, 4, 4)
    return faults.count


def no_space() -> BaseException:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def broken() -> BaseException:
    return OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.sample(1)
@pytest.mark.parametrize("error", [no_space, broken, Crash])
def test_a_fault_at_every_file_operation_of_a_save(
    error: Callable[[], BaseException], tmp_path: Path
) -> None:
    operations = count_operations(tmp_path / "counted")
    assert operations > 40
    template = tmp_path / "template"
    begin(template)
    reached = []
    for failing in range(operations):
        folder = tmp_path / "run"
        shutil.copytree(template, folder)
        failure: BaseException | None = None
        with Faults(failing, error()).injected():
            try:
                save(folder, 4, 4)
            except (Crash, ResourceError) as caught:
                failure = caught
        if error is Crash:
            assert isinstance(failure, Crash)
        elif failure is not None:  # deleting what is left over is the one thing that may fail
            assert isinstance(failure, ResourceError)
            assert failure.exit_code == 4
            assert error is broken or "bytes are free" in failure.problem
        reached.append(assert_whole(folder, 3))
        save(folder, 5, 5)  # and the next save is as good as ever
        assert assert_whole(folder, 5) == 5
        shutil.rmtree(folder)
    assert set(reached) == {3, 4}


def test_a_full_disk_at_every_write_says_what_is_needed(tmp_path: Path) -> None:
    template, needed = tmp_path / "template", []
    begin(template)
    for failing in range(count_operations(tmp_path / "counted")):
        folder = tmp_path / "run"
        shutil.copytree(template, folder)
        before = {path: path.read_bytes() for path in (folder / "step-000003").iterdir()}
        with Faults(failing, no_space()).injected():
            try:
                save(folder, 4, 4)
            except ResourceError as error:
                needed.append("bytes are needed" in error.problem)
        if (folder / "step-000003").exists():
            assert all(path.read_bytes() == content for path, content in before.items())
        assert_whole(folder, 3)
        shutil.rmtree(folder)
    # Deleting needs no space, so there nothing is named.
    assert needed.count(True) > 25


def damage(folder: Path, draw: random.Random) -> Path:
    """Flip a bit of a file of the newest checkpoint, cut it, empty it, or take it away."""
    name = draw.choice(("step-000003", "best-000003"))
    path = folder / name / draw.choice(("tensors.safetensors", "state.json", "manifest.json"))
    content = bytearray(path.read_bytes())
    kind = draw.choice(("flip", "flip", "cut", "empty", "remove"))
    if kind == "flip":
        bit = draw.randrange(len(content) * 8)
        content[bit // 8] ^= 1 << bit % 8
    elif kind == "cut":
        content = content[: draw.randrange(len(content))]
    elif kind == "empty":
        content.clear()
    path.unlink() if kind == "remove" else path.write_bytes(content)
    return folder / name


def test_200_damages_are_found_before_a_tensor_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template, draw = tmp_path / "template", random.Random(0)
    begin(template)
    read: list[Path] = []
    load = store.load_file
    monkeypatch.setattr(store, "load_file", lambda path: (read.append(path.parent), load(path))[1])
    for _ in range(200):
        folder = tmp_path / "run"
        shutil.copytree(template, folder)
        damaged = damage(folder, draw)
        said = io.StringIO()
        found = latest_checkpoint(folder, Console(said))
        assert found is not None
        assert found.state["step"] == 2
        assert "renamed a damaged checkpoint" in said.getvalue()
        assert not read
        for name, value in tensors(2).items():
            assert torch.equal(found.tensors()[name], value)
        assert damaged not in read
        read.clear()
        shutil.rmtree(folder)
