"""Memory beside tensors: the allocator's losses, and usage before the first tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from operator import add

from luthier.core.memory_pool import pool_installed


@dataclass(frozen=True, slots=True)
class Interval:
    """An expected number of bytes with its likely range."""

    low: int
    expected: int
    high: int


@dataclass(frozen=True, slots=True)
class Overhead:
    """Memory beside tensors; each value is (low, expected, high).

    Attributes:
        slack: reserved but unused memory as a share of allocated bytes, because blocks are rounded
            up.
        churn: fragmentation as a share of the memory that is allocated and freed within a step: a
            freed block does not fit the next request. Gradients fill the holes left by activations.
        framework: bytes in use before the first tensor, and added by the first step.
    """

    slack: tuple[float, float, float]
    churn: tuple[float, float, float]
    framework: tuple[float, float, float]

    def allocator(self, parts: Mapping[str, int]) -> Interval:
        """The allocator's losses, from tensor bytes by component."""
        allocated = sum(parts.values())
        moving = max(
            0, parts.get("activations", 0) + parts.get("logits", 0) - parts.get("gradients", 0)
        )
        shares = zip(self.slack, self.churn, strict=True)
        return interval(*(allocated * slack + moving * churn for slack, churn in shares))


_MIB = 2**20
# CUDA: the context and kernels take 0.4 to 0.9 GiB by card and libraries; torch's caching allocator
# rounds to 2 MiB and splits.
CUDA = Overhead((0.0, 0.03, 0.12), (0.0, 0.0, 0.0), (400 * _MIB, 560 * _MIB, 920 * _MIB))
# A CPU: the interpreter with torch, transformers and peft. oneTBB's allocator reuses freed blocks
# whole; in glibc's heap a freed aligned block may not fit a request of the same size. Peft imports
# bitsandbytes, 57 MiB, if installed.
_IMPORTED = 57 if find_spec("bitsandbytes") else 0
POOLED_CPU = Overhead(
    (0.0, 0.0, 0.05),
    (0.0, 0.0, 0.05),
    ((480 + _IMPORTED) * _MIB, (515 + _IMPORTED) * _MIB, (570 + _IMPORTED) * _MIB),
)
GLIBC_CPU = Overhead(
    (0.0, 0.0, 0.05),
    (0.15, 0.5, 0.75),
    ((430 + _IMPORTED) * _MIB, (460 + _IMPORTED) * _MIB, (520 + _IMPORTED) * _MIB),
)


# Memory that a compiler leaves in a CPU process: 50 to 100 MiB (lab/LOG.md, 2026-11-25).
_COMPILER = (40 * _MIB, 90 * _MIB, 150 * _MIB)


def with_compiler(overhead: Overhead) -> Overhead:
    """The overhead of a CPU process that has compiled layers."""
    low, expected, high = map(add, overhead.framework, _COMPILER)
    return replace(overhead, framework=(low, expected, high))


def usual_overhead(on_cpu: bool) -> Overhead:
    """The default overhead of a training from the command line."""
    if not on_cpu:
        return CUDA
    return POOLED_CPU if pool_installed() else GLIBC_CPU


def interval(low: float, expected: float, high: float) -> Interval:
    """An interval rounded to whole bytes."""
    return Interval(low=round(low), expected=round(expected), high=round(high))
