"""The heap that a training runs in, on Linux.

glibc hands out a tensor's 64-byte aligned block from a larger one and puts what is left before and
after it to other uses, so that a freed block is a few bytes short of the next request of its own
size: a step of LoRA took a third more memory than its tensors. Giving every block back to the
kernel leaves no holes, and took almost twice the time. oneTBB's allocator reuses freed blocks whole
and has neither fault (lab/LOG.md has the measurements). An allocator can only be exchanged when a
process starts.
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
    """Whether training from the command line will use oneTBB's allocator."""
    return bool(_libraries())


def pool_in_use() -> bool:
    """Whether this process uses it."""
    return hasattr(ctypes.CDLL(None), "__TBB_malloc_proxy") if _is_linux() else False


def pool_environment() -> dict[str, str]:
    """What a process must find in its environment to use it; empty where it is not installed."""
    ours = os.pathsep.join(map(str, _libraries()))
    before = os.environ.get(_PRELOAD, "")
    return {_PRELOAD: f"{ours}:{before}".rstrip(":")} if ours else {}


def start_in_pool() -> None:
    """Start this program anew with oneTBB's allocator, if it is there and not in use yet.

    Processes that this one starts later are not affected.
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
    """Where the package ``tbb`` put the allocator and what it depends on; empty without it."""
    if not _is_linux():
        return ()
    for base in (sys.prefix, site.getuserbase()):
        found = tuple(Path(base) / "lib" / name for name in _LIBRARIES)
        if all(path.is_file() for path in found):
            return found
    return ()


def _is_linux() -> bool:
    return sys.platform.startswith("linux")
