"""A record of every tensor storage allocated and freed while a program runs, real or fake."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

_ADD = torch.ops.aten.add.Tensor


@dataclass(slots=True, eq=False)
class Allocation:
    """A storage; tensors that are views of each other share one.

    Time is counted in allocations: time t is the t-th allocation.

    Attributes:
        nbytes: size in bytes.
        shape: the shape of the tensor it was allocated for.
        born: the time of allocation.
        recorded: whether autograd was recording at that time, as in a forward pass.
        in_backward: whether a backward pass was running at that time.
        died: the time of the last allocation before it was freed; None while it is alive.
        label: its purpose, if labelled.
    """

    nbytes: int
    shape: tuple[int, ...]
    born: int
    recorded: bool
    in_backward: bool
    died: int | None = None
    label: str = ""

    def alive_at(self, time: int) -> bool:
        """Whether it is alive right after the allocation at ``time``."""
        return self.born <= time and (self.died is None or self.died >= time)


class AllocationTracker(TorchDispatchMode):
    """Records the storages returned by operators while it is active.

    Storages are held by weak references, so tracking does not prolong their life. Each counts once,
    however many tensors view it; in-place operators return no new one. Of an operator's internal
    allocations, only the casts of element-wise ones are added, as on a CPU. Other internal ones are
    not seen, nor is memory allocated outside operators, such as the random generator's state stored
    by activation checkpointing.

    It sees operators below autograd, forward and backward. While a dispatch mode is active,
    autograd avoids in-place work in two ways. Its sums of gradients for one tensor are corrected
    here. Gradients of a few operators, such as indexing, fill a copy of their zeros, which counts
    one tensor too many.
    """

    def __init__(self) -> None:
        super().__init__()
        self.allocations: list[Allocation] = []
        self._live: dict[int, tuple[weakref.ref[Any], Allocation]] = {}
        self._sum: tuple[int, Allocation] | None = None

    @property
    def now(self) -> int:
        """The number of allocations so far."""
        return len(self.allocations)

    def label(self, tensors: Iterable[Tensor], label: str) -> None:
        """Label the storages of ``tensors``; those allocated before tracking are added."""
        for tensor in tensors:
            self._note(tensor).label = label

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and record the storages it returns."""
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            self._note(tensor)
        for nbytes in _casts(func, args):
            self._note_passing(nbytes)
        summed = func is _ADD and _in_backward() and not torch.is_grad_enabled()
        if summed and args[0]._base is None:  # autograd never accumulates into a view in place
            self._sum = (self.now - 1, self._note(args[0]))
        return result

    def _note(self, tensor: Tensor) -> Allocation:
        storage = tensor.untyped_storage()
        key = id(storage)
        if key in self._live:
            return self._live[key][1]
        allocation = self._add(storage.nbytes(), tuple(tensor.shape))
        self._live[key] = (weakref.ref(storage, partial(self._release, key)), allocation)
        return allocation

    def _note_passing(self, nbytes: int) -> None:
        """Record memory that an operator allocated and freed internally."""
        passing = self._add(nbytes, ())
        passing.died = passing.born

    def _add(self, nbytes: int, shape: tuple[int, ...]) -> Allocation:
        recorded, in_backward = torch.is_grad_enabled(), _in_backward()
        allocation = Allocation(nbytes, shape, self.now, recorded, in_backward)
        self.allocations.append(allocation)
        return allocation

    def _release(self, key: int, _reference: Any) -> None:
        _, allocation = self._live.pop(key)
        allocation.died = self.now - 1
        # A gradient sum whose first operand dies with it: untracked, it is accumulated in place.
        if self._sum == (allocation.died, allocation):
            allocation.died -= 1


def _tensors(result: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_iter(result) if isinstance(leaf, Tensor))


def _casts(func: Any, operands: Any) -> Iterator[int]:
    """Bytes of the copies with which a CPU casts operands to a common dtype.

    Only element-wise operators make them; a CUDA kernel casts number by number.
    """
    if torch.Tag.pointwise not in func.tags:
        return
    floating = [t for t in _tensors(operands) if t.ndim and t.is_floating_point()]
    if len({tensor.dtype for tensor in floating}) < 2:
        return
    common = reduce(torch.promote_types, (tensor.dtype for tensor in floating))
    for tensor in floating:
        if tensor.dtype != common:
            yield tensor.numel() * common.itemsize


def _in_backward() -> bool:
    return bool(torch._C._current_graph_task_id() != -1)
