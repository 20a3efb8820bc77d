"""The cache folder for data that can be recreated: converted models and downloads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from luthier.core.console import Console
from luthier.core.disk import storing
from luthier.core.folders import remove_leftovers

if sys.platform != "win32":
    import fcntl

_WANTED = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)


def cache_folder() -> Path:
    """``LUTHIER_CACHE``, or ``luthier`` in the user's cache folder."""
    if configured := os.environ.get("LUTHIER_CACHE"):
        return Path(configured).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "luthier"


@contextmanager
def one_at_a_time(folder: Path, console: Console) -> Iterator[None]:
    """Hold the lock of a cache folder, so that only one process writes there at a time.

    Other processes wait and then find the finished result. The lock is released when its process
    ends, even by a kill; leftovers of a killed process are deleted. On a file system without locks,
    processes run concurrently and nothing is deleted.

    Args:
        folder: a folder of the cache; created if missing.
        console: receives a message when this process has to wait.

    Raises:
        ResourceError: the folder cannot be written.
    """
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder.with_name(f".{folder.name}.lock"), _WANTED, 0o666)
    try:
        if _taken(handle, folder, console):
            remove_leftovers(folder)
        yield
    finally:
        os.close(handle)  # releases the lock


def _taken(handle: int, folder: Path, console: Console) -> bool:
    """Take the lock, waiting if necessary; False where locks are unavailable."""
    if sys.platform == "win32":
        return False
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.say(f"waiting for another process to finish writing in {folder} …")
            fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:
        return False
    return True
