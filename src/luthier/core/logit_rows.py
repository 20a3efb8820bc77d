"""Rows of logits that a fused loss computes at once, shared by the loss and the planner."""

from __future__ import annotations

# Logits held at once in a fused loss: 64 MiB of float32 on a CPU, 256 MiB on a device, which needs
# larger matrix products.
_LOGITS_ON_CPU, _LOGITS_ELSEWHERE = 2**24, 2**26


def rows_at_once(vocabulary: int, rows: int, *, on_cpu: bool) -> int:
    """Number of rows of logits that a fused loss over ``rows`` rows holds at once.

    Chunks have nearly equal sizes, because an allocator reuses freed blocks of the same size.
    """
    most = max(1, (_LOGITS_ON_CPU if on_cpu else _LOGITS_ELSEWHERE) // vocabulary)
    parts = max(1, -(-rows // most))
    return max(1, -(-rows // parts))
