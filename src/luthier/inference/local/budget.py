"""Limits of forward passes, which are lowered when memory runs out."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple, TypeVar

import torch

from luthier.data.batches import micro_batches
from luthier.models.device import is_out_of_memory

# Enough to keep the arithmetic units busy; the logits of 1,024 positions × 50,000 words are 200 MB.
_COMPUTED_TOKENS = {"cpu": 1024, "cuda": 8192}
# One more pass reads all weights and launches every layer once more. Another pass could compute
# this many more tokens in the same time.
_PASS_COST_IN_TOKENS = {"cpu": 24, "cuda": 512}

Item = TypeVar("Item")
Result = TypeVar("Result")


def pass_cost_in_tokens(device: torch.device) -> int:
    """The cost of one more pass, see `merge_cheap_prefixes`."""
    return _PASS_COST_IN_TOKENS.get(device.type, _PASS_COST_IN_TOKENS["cuda"])


class BatchLimits(NamedTuple):
    """The limits of one pass.

    Attributes:
        cached: tokens that it may add to the KV cache.
        computed: tokens of the pass, padding included.
    """

    cached: int
    computed: int


def rectangles(
    lengths: Sequence[int], room: BatchLimits, max_padding: float, extra: int = 0
) -> list[list[int]]:
    """Cut sequences into passes of padded rows.

    Args:
        lengths: tokens of each sequence.
        room: the limits of a pass; a single row may exceed them.
        max_padding: the largest share of padding in a pass.
        extra: tokens in the cache that each row takes besides its own.

    Returns:
        Indices into ``lengths``, one list for each pass, the longest first.
    """
    return [
        [outer[position] for position in inner]
        for outer in micro_batches(lengths, tokens=room.cached, max_padding=1.0, extra=extra)
        for inner in micro_batches(
            [lengths[i] for i in outer], tokens=room.computed, max_padding=max_padding
        )
    ]


@dataclass(slots=True)
class Budget:
    """The limits of forward passes; running out of memory lowers them permanently.

    Attributes:
        cached: tokens whose keys and values exist at the same time.
        computed: tokens of a pass, padding included.
    """

    cached: int
    computed: int

    @classmethod
    def of(cls, device: torch.device, cached: int) -> Budget:
        """The default budget of a device."""
        return cls(cached, _COMPUTED_TOKENS.get(device.type, _COMPUTED_TOKENS["cuda"]))

    def passes(
        self,
        items: Sequence[Item],
        compute: Callable[[list[Item]], Result],
        *,
        length: Callable[[Item], int],
        cut: Callable[[list[int], BatchLimits], list[list[int]]],
        held: int = 0,
    ) -> Iterator[tuple[list[Item], Result]]:
        """Compute items batch by batch, in smaller batches after an out-of-memory error.

        Args:
            items: the items to compute.
            compute: computes a batch. It must have no side effects if memory runs out.
            length: returns the tokens of an item.
            cut: cuts items of given lengths into batches within the limits.
            held: tokens that the cache holds already.

        Yields:
            Each batch in the order of its cut, with its result.

        Raises:
            RuntimeError, MemoryError: memory does not suffice for a single item.
        """
        waiting = self._cut(items, length, cut, held)
        while waiting:
            batch = waiting.pop()
            try:
                result = compute(batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or len(batch) == 1:
                    raise
            else:
                yield batch, result
                del result
                continue
            # Outside the handler, because an exception in handling keeps its tensors alive.
            self._halve(sum(map(length, batch)))
            again = [*chain.from_iterable(waiting), *batch]
            waiting = self._cut(again, length, cut, held)

    def _cut(
        self,
        items: Sequence[Item],
        length: Callable[[Item], int],
        cut: Callable[[list[int], BatchLimits], list[list[int]]],
        held: int,
    ) -> list[list[Item]]:
        """The batches in reverse, the next one last."""
        room = BatchLimits(max(1, self.cached - held), self.computed)
        batches = cut([length(item) for item in items], room)
        return [[items[index] for index in batch] for batch in reversed(batches)]

    def _halve(self, computed: int) -> None:
        """Halve both limits; ``computed`` is the number of tokens tried, without padding."""
        self.computed = max(1, min(self.computed, computed) // 2)
        self.cached = max(1, self.cached // 2)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
