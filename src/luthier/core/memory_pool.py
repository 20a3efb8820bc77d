"""The heap allocator for training on Linux.

glibc cuts a tensor's 64-byte aligned block out of a larger one and reuses the space around it, so a
freed block is a few bytes too short for the next request of the same size: a LoRA step took a third
more memory than its tensors. Returning every block to the kernel avoids this fragmentation but took
almost twice the time. oneTBB's allocator reuses freed blocks whole and has neither problem
(lab/LOG.md has the measurements). An allocator can be replaced only when a process starts.
"""

from __future__ import annotations

import ctypes
import os
import site
import sys
from pathlib import Path

_LIBRARIES = ("libtbbmalloc.so.2", "libtbbmalloc_proxy.so.2")
_PRELOAD = "LD_PRELOAD"


def pool_installed() -> bool:
    """Whether oneTBB's allocator is available for training from the command line."""
    return bool(_libraries())


def pool_in_use() -> bool:
    """Whether this process uses oneTBB's allocator."""
    return hasattr(ctypes.CDLL(None), "__TBB_malloc_proxy") if _is_linux() else False


def pool_environment() -> dict[str, str]:
    """The environment variables that enable oneTBB's allocator; empty where it is missing."""
    ours = os.pathsep.join(map(str, _libraries()))
    before = os.environ.get(_PRELOAD, "")
    return {_PRELOAD: f"{ours}:{before}".rstrip(":")} if ours else {}


def start_in_pool() -> None:
    """Restart this program with oneTBB's allocator, if installed and not in use yet.

    Child processes do not inherit it.
    """
    ours = os.pathsep.join(map(str, _libraries()))
    before = os.environ.get(_PRELOAD, "")
    if ours and not before.startswith(ours):
        os.execve(sys.executable, sys.orig_argv, os.environ | pool_environment())  # noqa: S606
    rest = before.removeprefix(ours).lstrip(":")
    os.environ.pop(_PRELOAD, None)
    if rest:
        os.environ[_PRELOAD] = rest


def _libraries() -> tuple[Path, ...]:
    """The files of the allocator and its dependencies in the ``tbb`` package, if installed."""
    if not _is_linux():
        return ()
    for base in (sys.prefix, site.getuserbase()):
        found = tuple(Path(base) / "lib" / name for name in _LIBRARIES)
        if all(path.is_file() for path in found):
            return found
    return ()


def _is_linux() -> bool:
    return sys.platform.startswith("linux")
