"""What requests share."""

from __future__ import annotations

from collections.abc import Sequence


def shared_prefix(prompts: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The longest common beginning of all prompts that leaves each at least one token.

    With one prompt there is nobody to share with, so it is empty.
    """
    if len(prompts) < 2:
        return ()
    # The common prefix of all is that of the extremes in lexicographic order.
    first, last = min(map(tuple, prompts)), max(map(tuple, prompts))
    limit = min(map(len, prompts)) - 1
    length = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b),
        min(len(first), len(last)),
    )
    return first[: min(length, limit)]
