"""The examples of each step, and their split into forward passes.

Both are pure functions: the order of (seed, step), the split of the lengths. A resumed run sees the
same batches, and another split changes memory and speed but never the gradient.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from luthier.core.seeds import derive


class Replay(NamedTuple):
    """General examples for replay: their number, and their share of an epoch."""

    num: int = 0
    share: float = 0.0


NO_REPLAY = Replay()


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """The order of the examples over all epochs.

    Attributes:
        num_examples: number of training examples.
        batch_size: examples per step; the last step of an epoch may have fewer.
        seed: the seed of the shuffles.
        replay: general examples, numbered after the others. An epoch has all training examples plus
            general ones up to the requested share; each epoch continues where the last one stopped,
            so that all are used before any recurs.
    """

    num_examples: int
    batch_size: int
    seed: int
    replay: Replay = NO_REPLAY

    @property
    def replayed(self) -> int:
        """Number of general examples per epoch."""
        if not self.replay.num:
            return 0
        return round(self.num_examples * self.replay.share / (1 - self.replay.share))

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimizer steps per epoch."""
        return -(-(self.num_examples + self.replayed) // self.batch_size)

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
    first = epoch * order.replayed
    general = [_general(order, first + position) for position in range(order.replayed)]
    examples = (*range(order.num_examples), *(order.num_examples + i for i in general))
    return _shuffled(examples, derive(order.seed, "epoch", epoch))


def _general(order: BatchOrder, position: int) -> int:
    """The general example at a position in the sequence of all replayed ones."""
    deal, place = divmod(position, order.replay.num)
    return _deal(order.replay.num, derive(order.seed, "replay", deal))[place]


@lru_cache(maxsize=4)
def _deal(count: int, seed: int) -> tuple[int, ...]:
    return _shuffled(range(count), seed)


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
