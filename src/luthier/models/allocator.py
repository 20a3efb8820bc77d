"""Control over memory that freed tensors leave in the heap, on a CPU."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Any

import psutil

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 2**30
# oneTBB, scalable_allocator.h: ScalableAllocationCmd and AllocationModeParam.
_CLEAN_ALL_BUFFERS, _SET_SOFT_HEAP_LIMIT = 0, 1
# Python stores objects of up to 512 bytes in its own arenas; 57 to 97 bytes each were measured.
_SMALL_OBJECT_BYTES = 80


def keep_freed_memory() -> None:
    """Make glibc keep freed blocks of up to 1 GiB instead of returning each to the kernel.

    Activations and logits are allocated and freed at every layer. By default each block above a few
    MiB is mapped anew, and the kernel clears its pages again: copying 64 MB took 2.5 times as long
    in a measurement. The price is fragmentation (`luthier.core.memory_pool`). With another
    allocator this has no effect.
    """
    if mallopt := _function("mallopt"):
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def release_freed_memory() -> None:
    """Return cached memory to the system, so that the next measurement does not count it."""
    gc.collect()
    if clean := _function("scalable_allocation_command"):  # oneTBB's, if in use
        clean(_CLEAN_ALL_BUFFERS, None)
    elif malloc_trim := _function("malloc_trim"):
        malloc_trim(0)


def bound_kept_memory(growth: int) -> None:
    """Limit the freed blocks that oneTBB's allocator keeps to ``growth`` bytes of heap growth.

    It caches blocks by size, and micro-batches of other lengths need other sizes: without a limit,
    the caches would add up. Above the limit it returns cached blocks before requesting more; it
    never refuses. Other allocators are not affected.
    """
    if set_mode := _function("scalable_allocation_mode"):
        memory = psutil.Process().memory_info()
        # Anonymous pages: this heap, and the arenas of Python's small objects.
        arenas = sys.getallocatedblocks() * _SMALL_OBJECT_BYTES
        in_use = memory.rss - getattr(memory, "shared", 0) - arenas
        set_mode(_SET_SOFT_HEAP_LIMIT, ctypes.c_ssize_t(in_use + growth))


def _function(name: str) -> Any:
    """A function in a library loaded by this process, or None."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
