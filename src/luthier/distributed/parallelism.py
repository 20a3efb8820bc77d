"""Parallelism across processes: full copies of the model (DDP), or shards of it (FSDP).

In both, a step's micro-batches are distributed over the processes, each loss is divided by the
trained tokens of the whole step, and gradients are summed. So the gradient does not depend on the
number of processes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from luthier.distributed.process_group import SINGLE_PROCESS, ProcessGroup

# Bucket size for gradients, as in DDP (Li et al. 2020, arXiv 2006.15704).
_BUCKET_NUMBERS = 25 * 2**20 // 4


@dataclass(frozen=True, slots=True)
class Share:
    """A forward pass of this process.

    Attributes:
        indices: indices of its examples.
        counts: whether its loss counts; otherwise the pass only keeps processes in step.
    """

    indices: list[int]
    counts: bool = True


class Parallelism(ABC):
    """A way to parallelise a training."""

    def __init__(self, processes: ProcessGroup = SINGLE_PROCESS) -> None:
        self.processes = processes

    @abstractmethod
    def place(self, model: Any, device: torch.device) -> torch.device:
        """Place the model for this process before its weights are collected.

        Args:
            model: the model to train; it is modified.
            device: the device of its weights.

        Returns:
            The device on which it computes from now on.
        """

    @abstractmethod
    def settle(self, model: Any) -> None:
        """Release weights that a pass without gradients leaves gathered."""

    @abstractmethod
    def shares(self, cuts: Sequence[list[int]], lengths: Sequence[int]) -> list[Share]:
        """The forward passes of this process.

        Args:
            cuts: the examples of each forward pass, over all processes.
            lengths: the lengths of the examples.
        """

    @abstractmethod
    def reduce(self, weights: Iterable[Parameter]) -> None:
        """Sum the gradients over all processes."""

    @abstractmethod
    def whole(self, tensor: Tensor) -> Tensor:
        """The full tensor of a possibly sharded one; every process must call this."""

    @abstractmethod
    def local(self, whole: Tensor, like: Tensor) -> Tensor:
        """This process's part of a full tensor, sharded like ``like``."""

    @abstractmethod
    def held(self, tensor: Tensor) -> Tensor:
        """This process's part of a tensor, as a plain tensor that shares its memory."""

    @abstractmethod
    def state(self, model: Any) -> dict[str, Tensor] | None:
        """Full tensors by name on the first rank; None if the model itself holds them."""


class Replicated(Parallelism):
    """A full copy of the model in every process, including the case of one process."""

    def place(self, model: Any, device: torch.device) -> torch.device:
        """See `Parallelism.place`: trained weights are made equal everywhere at the start."""
        trained = [parameter.data for parameter in model.parameters() if parameter.requires_grad]
        self.processes.share_first(trained)
        return device

    def settle(self, model: Any) -> None:
        """See `Parallelism.settle`: nothing is gathered."""

    def shares(self, cuts: Sequence[list[int]], lengths: Sequence[int]) -> list[Share]:
        """See `Parallelism.shares`."""
        return [
            Share(cut) for cut in partition(cuts, lengths, self.processes.size)[self.processes.rank]
        ]

    def reduce(self, weights: Iterable[Parameter]) -> None:
        """See `Parallelism.reduce`. A weight that no process used has no gradient."""
        if self.processes.size == 1:
            return
        weights = list(weights)
        used = self.processes.any(*(weight.grad is not None for weight in weights))
        gradients = [
            _gradient(weight) for weight, is_used in zip(weights, used, strict=True) if is_used
        ]
        for bucket in _buckets(gradients):
            message = torch.cat([gradient.reshape(-1) for gradient in bucket])
            self.processes.sum(message)
            parts = torch.split(message, [gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view_as(gradient))

    def whole(self, tensor: Tensor) -> Tensor:
        """See `Parallelism.whole`."""
        return tensor

    def local(self, whole: Tensor, like: Tensor) -> Tensor:
        """See `Parallelism.local`."""
        return whole.to(like.device)

    def held(self, tensor: Tensor) -> Tensor:
        """See `Parallelism.held`."""
        return tensor

    def state(self, model: Any) -> dict[str, Tensor] | None:
        """See `Parallelism.state`."""
        return None


def partition(
    cuts: Sequence[list[int]], lengths: Sequence[int], size: int
) -> list[list[list[int]]]:
    """Forward passes for ``size`` processes: the longest first, to the least loaded process.

    Passes are halved while there are fewer than processes.
    """
    passes = [list(cut) for cut in cuts]

    def work(cut: list[int]) -> int:
        return len(cut) * max(lengths[index] for index in cut)

    while len(passes) < size and any(len(cut) > 1 for cut in passes):
        largest = max((cut for cut in passes if len(cut) > 1), key=work)
        passes.remove(largest)
        middle = len(largest) // 2
        passes += [largest[:middle], largest[middle:]]
    if size > 1:
        passes.sort(key=work, reverse=True)
    hands: list[list[list[int]]] = [[] for _ in range(size)]
    for cut in passes:
        min(hands, key=lambda hand: sum(map(work, hand))).append(cut)
    return hands


def _gradient(weight: Parameter) -> Tensor:
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad


def _buckets(tensors: Iterable[Tensor]) -> Iterable[list[Tensor]]:
    """Consecutive tensors of one dtype, up to the bucket size."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        numbers = sum(held.numel() for held in bucket) + tensor.numel()
        if bucket and (numbers > _BUCKET_NUMBERS or bucket[0].dtype != tensor.dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
