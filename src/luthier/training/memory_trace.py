"""Memory of a training step at the peak of each of its phases."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from luthier.records.base import Record
from luthier.training.allocations import Allocation


class Breakdown(Record):
    """Bytes of live tensors at one moment, by purpose.

    Attributes:
        frozen_weights: frozen base weights, and buffers.
        trained_weights: trained base weights.
        adapters: parameters added by the method.
        masters: float32 master copies of trained weights.
        gradients: gradients of all trained parameters.
        optimizer: optimizer states.
        activations: tensors kept for the backward pass, recomputed or not.
        logits: tensors of the logits' shape: logits, their copies and gradients.
        temporary: all others, such as operands and results of the current operation.
    """

    frozen_weights: int = 0
    trained_weights: int = 0
    adapters: int = 0
    masters: int = 0
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0
    logits: int = 0
    temporary: int = 0

    @property
    def total(self) -> int:
        """The total bytes."""
        return sum(self.model_dump().values())


class MemoryTrace(Record):
    """The peak moment of each phase of a step; bytes of tensors.

    The step is one of the steady state: optimizer states exist from the step before and, with
    gradient accumulation, gradients from earlier micro-batches.
    """

    forward: Breakdown
    backward: Breakdown
    optimizer_step: Breakdown

    @property
    def phase(self) -> str:
        """The phase with the peak."""
        return max(MemoryTrace.model_fields, key=lambda name: getattr(self, name).total)

    @property
    def peak(self) -> Breakdown:
        """The moment of the whole step with the highest memory use."""
        peak: Breakdown = getattr(self, self.phase)
        return peak


def summarise(allocations: Sequence[Allocation], start: int, vocabulary: int) -> MemoryTrace:
    """The peaks since time ``start``; tensors as wide as the vocabulary count as logits."""
    backward = [a.born for a in allocations if a.in_backward and not a.recorded]
    in_use = _in_use(allocations)
    peaks: dict[str, tuple[int, int]] = {}
    for allocation in allocations[start:]:
        phase = "backward" if allocation.in_backward else "forward"
        if allocation.born > backward[-1]:
            phase = "optimizer_step"
        peaks[phase] = max(peaks.get(phase, (0, 0)), (in_use[allocation.born], allocation.born))
    found: dict[str, Breakdown] = {}
    for phase, (_, time) in peaks.items():
        sizes = dict.fromkeys(Breakdown.model_fields, 0)
        for allocation in allocations[: time + 1]:
            if allocation.alive_at(time):
                sizes[_category(allocation, backward, vocabulary)] += allocation.nbytes
        found[phase] = Breakdown(**sizes)
    return MemoryTrace(**found)


def _category(allocation: Allocation, backward: Sequence[int], vocabulary: int) -> str:
    """The purpose of a storage, by its label, shape or lifetime.

    Args:
        allocation: the storage.
        backward: times at which backward passes created gradients, ascending.
        vocabulary: the width of logits.
    """
    if allocation.label:
        return allocation.label
    if allocation.shape[1:] == (vocabulary,):
        return "logits"
    forward = allocation.recorded or not allocation.in_backward
    following = bisect_right(backward, allocation.born)
    if forward and following < len(backward) and allocation.alive_at(backward[following]):
        return "activations"
    return "temporary"


def _in_use(allocations: Sequence[Allocation]) -> list[int]:
    """Bytes in use after each allocation."""
    change = [allocation.nbytes for allocation in allocations] + [0]
    for allocation in allocations:
        if allocation.died is not None:
            change[allocation.died + 1] -= allocation.nbytes
    return list(accumulate(change))
