"""The examples of each step, and their split into forward passes.

Both are pure functions: the order of (seed, step), the split of the lengths. A resumed run sees the
same batches, and another split changes memory and speed but never the gradient.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from luthier.core.seeds import derive


class ExampleOrder(Protocol):
    """The assignment of examples to optimizer steps."""

    @property
    def num_examples(self) -> int:
        """The number of examples."""

    @property
    def batch_size(self) -> int:
        """Examples per step."""

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimizer steps per epoch."""

    @property
    def may_repeat(self) -> bool:
        """Whether few examples come in more than one epoch by default."""

    def total_steps(self, epochs: float) -> int:
        """Number of optimizer steps in ``epochs`` epochs, at least one."""

    def step(self, step: int) -> list[int]:
        """Indices of the examples in step ``step`` (counted from 0)."""


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """The order of the examples over all epochs.

    Attributes:
        num_examples: number of training examples.
        batch_size: examples per step; the last step of an epoch may have fewer.
        seed: the seed of the shuffles.
    """

    num_examples: int
    batch_size: int
    seed: int

    @property
    def may_repeat(self) -> bool:
        """See `ExampleOrder.may_repeat`."""
        return True

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimizer steps per epoch."""
        return -(-self.num_examples // self.batch_size)

    def total_steps(self, epochs: float) -> int:
        """Number of optimizer steps in ``epochs`` epochs, at least one."""
        return max(1, round(epochs * self.steps_per_epoch))

    def step(self, step: int) -> list[int]:
        """Indices of the examples in step ``step`` (counted from 0)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        order = _epoch(self, epoch)
        return list(order[position * self.batch_size : (position + 1) * self.batch_size])


@lru_cache(maxsize=4)  # one shuffle per epoch, not per step
def _epoch(order: BatchOrder, epoch: int) -> tuple[int, ...]:
    """All examples of an epoch, in order."""
    return _shuffled(range(order.num_examples), derive(order.seed, "epoch", epoch))


def _shuffled(values: Sequence[int], seed: int) -> tuple[int, ...]:
    order = list(values)
    random.Random(seed).shuffle(order)  # noqa: S311
    return tuple(order)


def micro_batches(
    lengths: Sequence[int], *, tokens: int, max_padding: float, extra: int = 0
) -> list[list[int]]:
    """Split sequences into forward passes of similar lengths.

    Args:
        lengths: tokens of each sequence.
        tokens: limit for rows × longest row, exceeded only by a single longer row.
        max_padding: the allowed share of padding in a forward pass.
        extra: additional tokens per row, such as a shared prefix or generated tokens.

    Returns:
        Indices into ``lengths``, a list per forward pass, longest first, so that a lack of memory
    shows at once.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    cuts: list[list[int]] = []
    real = 0
    for index in order:
        if cuts:
            rows, width = len(cuts[-1]) + 1, lengths[cuts[-1][0]]
            enough_room = rows * (width + extra) <= tokens
            if enough_room and real + lengths[index] >= (1 - max_padding) * rows * width:
                cuts[-1].append(index)
                real += lengths[index]
                continue
        cuts.append([index])
        real = lengths[index]
    return cuts


def packed_rows(lengths: Sequence[int], *, tokens: int) -> list[list[int]]:
    """Split sequences into forward passes of one packed row each.

    First fit decreasing (Johnson 1974, doi 10.1016/S0022-0000(74)80026-7): the longest first, each
    into the first row with room for it.

    Args:
        lengths: tokens of each sequence.
        tokens: maximum tokens per row, exceeded only by a single longer sequence.

    Returns:
        Indices into ``lengths``, a list per forward pass.
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        length = lengths[index]
        row = next((number for number, left in enumerate(room) if left >= length), len(rows))
        if row == len(rows):
            rows.append([])
            room.append(tokens)
        rows[row].append(index)
        room[row] -= length
    return rows
