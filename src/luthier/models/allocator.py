"""How the C library hands out memory."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 2**30
_RETURNED_BYTES = 2**16


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of up to 1 GiB instead of giving each back to the kernel.

    Activations and logits are allocated and freed at every layer. By default each block above a
    few MiB is mapped anew, and the kernel clears its pages again: copying 64 MB took 2.5 times as
    long in a measurement. The price is holes: a block that was freed may be a few bytes short of
    the next request. Other C libraries are left alone.
    """
    _map_blocks_above(_KEPT_BYTES)


def return_freed_memory() -> None:
    """Let glibc give every freed tensor back at once: no holes, and slower (lab/LOG.md).

    What was kept until now is given back too.
    """
    _map_blocks_above(_RETURNED_BYTES)
    release_freed_memory()


def release_freed_memory() -> None:
    """Give back what is kept, so that the next measurement does not count it."""
    gc.collect()
    if malloc_trim := _glibc("malloc_trim"):
        malloc_trim(0)


def _map_blocks_above(size: int) -> None:
    if mallopt := _glibc("mallopt"):
        mallopt(_M_MMAP_THRESHOLD, size)
        mallopt(_M_TRIM_THRESHOLD, size)


def _glibc(name: str) -> Any:
    """A function of glibc, or None with another C library."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
