"""Which requests run together."""

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


def length_sorted_batches(
    lengths: Sequence[int], tokens_per_row: int, batch_tokens: int
) -> list[list[int]]:
    """Cut requests into batches of similar length, longest first.

    Args:
        lengths: tokens of each request.
        tokens_per_row: tokens that every row takes besides its own, such as those it will make.
        batch_tokens: rows × padded length stays within this, unless a single row is longer.

    Returns:
        Indices into ``lengths``, a list a batch.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[list[int]] = []
    for index in order:
        if batches:
            width = lengths[batches[-1][0]] + tokens_per_row
            if (len(batches[-1]) + 1) * width <= batch_tokens:
                batches[-1].append(index)
                continue
        batches.append([index])
    return batches
