"""A disk of a few megabytes that really runs full."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from luthier.checkpoint.store import load_checkpoint
from luthier.core.errors import ResourceError

_NAMED = re.compile(r"the disk is full: ([\d,]+) bytes are needed, ([\d,]+) bytes are free")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Any]:
    """A file system in memory: ``resize(megabytes)`` mounts it, or changes its size."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def resize(megabytes: float) -> Path:
        mounted = folder.is_mount()
        options = f"{'remount,' if mounted else ''}size={int(megabytes * 1024)}k"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("no file system may be mounted here")
        return folder

    yield resize
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def checkpoints(tuning: Any) -> list[Path]:
    folder = tuning.run / "checkpoints"
    return sorted([*folder.glob("step-*"), *folder.glob("best-*")])


def is_too_small(tuning: Any) -> bool:
    """Run until it ends; if the disk was full, exit code 4, both figures, checkpoints whole."""
    before = len(tuning.log)
    code = tuning.finish()
    if code == 0:
        return False
    said = tuning.log[before:]
    assert code == ResourceError.exit_code, said
    assert _NAMED.search(said), said
    assert "Traceback" not in said
    for path in checkpoints(tuning):
        load_checkpoint(path)
    return True


@pytest.mark.parametrize("sizes", [(0.6, 2.2)])
def test_a_disk_that_is_too_small(
    sizes: tuple[float, ...], small_disk: Any, make_tuning: Any, undisturbed: Any
) -> None:
    reference, _ = undisturbed
    small_disk(sizes[0])
    tuning = make_tuning("disk")
    for size in sizes:
        small_disk(size)
        assert is_too_small(tuning)
    small_disk(40)
    assert tuning.finish() == 0, tuning.log
    assert tuning.outcome() == reference.outcome()


@pytest.mark.long
def test_a_disk_that_grows_little_by_little(
    small_disk: Any, make_tuning: Any, undisturbed: Any
) -> None:
    """Full at another write each time, until it is large enough."""
    reference, _ = undisturbed
    sizes = [0.02, *(number / 2 for number in range(1, 13))]
    small_disk(sizes[0])
    tuning, full = make_tuning("disk"), 0
    for size in sizes:
        small_disk(size)
        if not is_too_small(tuning):
            break
        full += 1
    assert full > 3
    assert tuning.outcome() == reference.outcome()
