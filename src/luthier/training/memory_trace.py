"""What a training step holds in memory at the peak of each of its phases."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from luthier.records.base import Record
from luthier.training.allocations import Allocation


class Breakdown(Record):
    """Bytes of tensors that exist at one moment, by what they are.

    Attributes:
        frozen_weights: base weights that are not trained, and buffers.
        trained_weights: base weights that are.
        adapters: parameters that the method added.
        masters: float32 copies of trained weights in another type.
        gradients: of all that is trained.
        optimizer: the optimizer's states.
        activations: what forward passes leave for the backward pass, computed again or not.
        logits: tensors of the logits' shape: they, their copies and their gradients.
        temporary: the rest: operands and results of the moment.
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
        """All of it."""
        return sum(self.model_dump().values())


class MemoryTrace(Record):
    """The moment of each phase of a step with the most memory in use; bytes of tensors.

    The step is one in the steady state: optimizer states exist from the step before, and, with
    several micro-batches, gradients from those before.
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
        """The moment of the whole step with the most memory in use."""
        peak: Breakdown = getattr(self, self.phase)
        return peak


def summarise(allocations: Sequence[Allocation], start: int, vocabulary: int) -> MemoryTrace:
    """The peaks since ``start``; tensors as wide as the vocabulary are logits."""
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
    """What a storage is: by its label, its shape, or how long it lives.

    Args:
        allocation: the storage.
        backward: times at which backward passes made gradients, ascending.
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
    """Bytes in use right after each allocation."""
    change = [allocation.nbytes for allocation in allocations] + [0]
    for allocation in allocations:
        if allocation.died is not None:
            change[allocation.died + 1] -= allocation.nbytes
    return list(accumulate(change))
