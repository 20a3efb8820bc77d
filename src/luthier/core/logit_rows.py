"""How many rows of logits exist at once: the loss computes so many, and the planner counts them."""

from __future__ import annotations

# Logits that exist at once in a fused loss: 64 MiB of float32 on a CPU, or 256 on a device that
# needs large products.
_LOGITS_ON_CPU, _LOGITS_ELSEWHERE = 2**24, 2**26


def rows_at_once(vocabulary: int, rows: int, *, on_cpu: bool) -> int:
    """Rows of logits that exist at the same time in a fused loss over so many rows.

    The parts are alike, because an allocator reuses a freed block for one of its own size.
    """
    most = max(1, (_LOGITS_ON_CPU if on_cpu else _LOGITS_ELSEWHERE) // vocabulary)
    parts = max(1, -(-rows // most))
    return max(1, -(-rows // parts))
