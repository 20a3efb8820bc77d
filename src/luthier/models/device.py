"""Device, precision, and available memory."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path
from typing import Literal

import psutil
import torch

from luthier.models.allocator import release_freed_memory


def default_device() -> torch.device:
    """The first CUDA device, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def resolve_dtype(
    name: Literal["auto", "float32", "bfloat16", "float16"], device: torch.device
) -> torch.dtype:
    """The dtype of the weights; ``auto`` is bfloat16 only with native matrix instructions.

    It is float16 on CUDA devices with matrix units for float16 but not bfloat16: V100 and T4.

    On a CPU without AMX or AVX512-BF16 a bfloat16 product is emulated and about a hundred times
    slower than in float32. The hardware features decide, not a measurement, so the answer is the
    same in every run on a machine.
    """
    if name != "auto":
        named: torch.dtype = getattr(torch, name)
        return named
    if has_fast_bfloat16(device):
        return torch.bfloat16
    return torch.float16 if has_fast_float16(device) else torch.float32


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the device has bfloat16 matrix instructions."""
    if device.type == "cuda":
        return bool(torch.cuda.get_device_capability(device) >= (8, 0))
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    flags = ("amx_bf16", "amx_tile", "avx512_bf16", "bf16")
    return any(capabilities.get(flag, False) for flag in flags)


def has_fast_float16(device: torch.device) -> bool:
    """Whether the device has float16 matrix units, as CUDA devices since compute capability 7.0."""
    if device.type != "cuda":
        return False
    return bool(torch.cuda.get_device_capability(device) >= (7, 0))


def free_memory(device: torch.device) -> int:
    """Bytes available without swapping."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error reports that memory ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    # torch's CPU allocator has no exception class for it.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


class PeakMemory:
    """The highest memory use since construction, in bytes.

    CPU: the resident size of the process, from the kernel's high-water mark, which Linux lets a
    process reset. If it cannot be reset, the mark since the process started (an upper bound). CUDA:
    the allocator's own figure.
    """

    _STATUS = Path("/proc/self/status")
    _RESET = Path("/proc/self/clear_refs")

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        release_freed_memory()
        if self._RESET.exists():
            with contextlib.suppress(OSError):  # some sandboxes forbid it
                self._RESET.write_text("5")

    def read(self) -> int:
        """The peak in bytes."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device))
        if self._STATUS.exists():
            for line in self._STATUS.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
