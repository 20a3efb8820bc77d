"""What happens to memory that tensors no longer use, on a CPU."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 2**30
_CLEAN_ALL_BUFFERS = 0


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of up to 1 GiB instead of giving each back to the kernel.

    Activations and logits are allocated and freed at every layer. By default each block above a
    few MiB is mapped anew, and the kernel clears its pages again: copying 64 MB took 2.5 times as
    long in a measurement. The price is holes (`luthier.core.heap`). Where another allocator has
    taken glibc's place this has no effect.
    """
    if mallopt := _function("mallopt"):
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def release_freed_memory() -> None:
    """Give back what is kept, so that the next measurement does not count it."""
    gc.collect()
    if clean := _function("scalable_allocation_command"):  # oneTBB's, where it is in use
        clean(_CLEAN_ALL_BUFFERS, None)
    elif malloc_trim := _function("malloc_trim"):
        malloc_trim(0)


def _function(name: str) -> Any:
    """A function that this process has loaded, or None."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
