"""Checkpoints are whole, verified, and never cost an older one."""

from __future__ import annotations

import errno
import io
import os
import random
import shutil
from collections.abc import Callable
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
)
from luthier.core.console import Console
from luthier.core.errors import DataError, ResourceError
from luthier.core.files import partial_name

FILES = ("tensors.safetensors", "state.json", "manifest.json")


def tensors(value: float) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(int(value))
    return {
        "weights/a": torch.full((64, 32), value),
        "weights/b": torch.randn(16, generator=generator).bfloat16(),
        "optimizer/a/step": torch.tensor(value),
    }


def save(folder: Path, step: int) -> Path:
    return save_checkpoint(folder, step, tensors(step), {"step": step, "loss": 0.1})


def names(folder: Path) -> list[str]:
    return sorted(child.name for child in folder.iterdir())


def assert_holds(folder: Path, step: int) -> None:
    found = latest_checkpoint(folder, Console(io.StringIO()))
    assert found is not None
    assert found.state == {"step": step, "loss": 0.1}
    expected = tensors(step)
    loaded = found.tensors()
    assert loaded.keys() == expected.keys()
    for name, value in expected.items():
        assert loaded[name].dtype == value.dtype
        assert torch.equal(loaded[name], value)


def flip_a_bit(path: Path, seed: int) -> None:
    content = bytearray(path.read_bytes())
    bit = random.Random(seed).randrange(len(content) * 8)
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = save(tmp_path, 7)
    assert sorted(file.name for file in path.iterdir()) == sorted(FILES)
    assert_holds(tmp_path, 7)
    assert names(tmp_path) == ["latest", "step-000007"]
    assert (tmp_path / "latest").read_text() == "step-000007\n"


def test_tensors_that_are_views_are_saved_as_they_look(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    save_best(tmp_path, 3, {"t": whole.T, "row": whole[1]})
    found = load_best(tmp_path, 3).tensors()
    assert torch.equal(found["t"], whole.T)
    assert torch.equal(found["row"], whole[1])


def test_the_newest_checkpoint_is_used(tmp_path: Path) -> None:
    for step in (9, 100, 20):
        save(tmp_path, step)
    assert_holds(tmp_path, 100)


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "missing", Console(quiet=True)) is None


@pytest.mark.sample(20)
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("seed", range(30))
def test_a_flipped_bit_is_found_and_the_older_checkpoint_used(
    file: str, seed: int, tmp_path: Path
) -> None:
    save(tmp_path, 1)
    flip_a_bit(save(tmp_path, 2) / file, seed)
    assert_holds(tmp_path, 1)
    assert (tmp_path / "damaged-step-000002" / file).is_file()


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def other_json(path: Path) -> None:
    path.write_text("[1, 2]")


@pytest.mark.parametrize("damage", [truncate, empty, other_json, Path.unlink])
@pytest.mark.parametrize("file", FILES)
def test_damage_is_set_aside_and_said(
    file: str, damage: Callable[[Path], None], tmp_path: Path
) -> None:
    save(tmp_path, 1)
    damage(save(tmp_path, 2) / file)
    said = io.StringIO()
    found = latest_checkpoint(tmp_path, Console(said))
    assert found is not None
    assert found.state["step"] == 1
    assert "warning: renamed a damaged checkpoint" in said.getvalue()
    assert "step-000002" in said.getvalue()
    # It is not looked at again, and a new one of its name can be saved.
    save(tmp_path, 2)
    assert_holds(tmp_path, 2)


def test_an_interrupted_save_is_not_taken_for_a_checkpoint(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    killed = partial_name(tmp_path / "step-000002")
    shutil.copytree(path, killed)
    own = tmp_path / ".mine.partial"
    own.mkdir()
    assert_holds(tmp_path, 1)
    save(tmp_path, 2)
    assert_holds(tmp_path, 2)
    assert not killed.exists()
    assert own.exists()


@pytest.mark.parametrize("limit", [0, 100, 4096])
def test_a_write_that_fails_leaves_the_checkpoints_as_they_are(
    limit: int, tmp_path: Path, files_limited_to: Any
) -> None:
    save(tmp_path, 1)
    with files_limited_to(limit), pytest.raises(ResourceError) as caught:
        save(tmp_path, 2)
    assert "step-000002" in caught.value.where
    assert caught.value.exit_code == 4
    assert names(tmp_path) == ["latest", "step-000001"]
    assert_holds(tmp_path, 1)


@pytest.mark.parametrize("failing", range(8))
def test_a_full_disk_at_any_flush_leaves_a_checkpoint(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes reach the disk when they are flushed, which is where a full disk shows at last."""
    save(tmp_path, 1)
    flush, calls = os.fsync, iter(range(100))

    def fsync(handle: int) -> None:
        if next(calls) == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    if failing < 7:
        with pytest.raises(ResourceError, match=r"full: [\d,]+ bytes are needed, [\d,]+ bytes"):
            save(tmp_path, 2)
        # The last flushes, of its name and the pointer, come after the new one is in place.
        assert_holds(tmp_path, 2 if failing > 3 else 1)
    else:
        save(tmp_path, 2)
        assert_holds(tmp_path, 2)


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path: Path, files_limited_to: Any) -> None:
    for value in (1.0, 2.0):
        save_best(tmp_path, 5, tensors(value))
    assert float(load_best(tmp_path, 5).tensors()["optimizer/a/step"]) == 2.0
    assert names(tmp_path) == ["best-000005"]
    with files_limited_to(100), pytest.raises(ResourceError):
        save_best(tmp_path, 5, tensors(3.0))
    assert float(load_best(tmp_path, 5).tensors()["optimizer/a/step"]) == 2.0


def test_a_replacement_that_was_stopped_half_way_is_undone(tmp_path: Path) -> None:
    save(tmp_path, 4).rename(tmp_path / ".old-step-000004")
    assert_holds(tmp_path, 4)


def test_a_checkpoint_that_is_missing_is_said(tmp_path: Path) -> None:
    save(tmp_path, 1)
    shutil.rmtree(save(tmp_path, 2))
    said = io.StringIO()
    found = latest_checkpoint(tmp_path, Console(said))
    assert found is not None
    assert found.state["step"] == 1
    assert "the newest checkpoint is missing" in said.getvalue()


@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_a_checkpoint_without_its_best_weights_is_not_used(damage: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, tensors(1), {"step": 1, "best_step": 0})
    best = save_best(tmp_path, 2, tensors(2))
    save_checkpoint(tmp_path, 3, tensors(3), {"step": 3, "best_step": 2})
    if damage == "flip":
        flip_a_bit(best / "tensors.safetensors", 0)
    else:
        shutil.rmtree(best)
    found = latest_checkpoint(tmp_path, Console(quiet=True))
    assert found is not None
    assert found.state["step"] == 1
    # What a resumed training will make again is taken away.
    assert names(tmp_path) == ["damaged-step-000003", "latest", "step-000001"]


def test_a_folder_that_is_a_file_is_a_resource_error(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("in the way")
    with pytest.raises(ResourceError) as caught:
        save(tmp_path / "checkpoints", 1)
    assert caught.value.fix


def test_pruning_keeps_the_newest_and_what_they_need(tmp_path: Path) -> None:
    for step in range(1, 6):
        save(tmp_path, step)
    for step in (1, 3, 5, 6):
        save_best(tmp_path, step, tensors(step))
    prune_checkpoints(tmp_path, keep=2)
    kept = ["best-000003", "best-000005", "best-000006", "latest", "step-000004", "step-000005"]
    assert names(tmp_path) == kept


def test_a_missing_best_checkpoint_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_best(tmp_path, 3)


def test_numbers_that_are_not_finite_are_not_saved_as_state(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(tmp_path, 1, tensors(1), {"loss": float("nan")})
    assert latest_checkpoint(tmp_path, Console(quiet=True)) is None
