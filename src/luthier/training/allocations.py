"""Every tensor storage that comes and goes while a program runs, real or fake."""

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
    """A storage: tensors that are views of each other share one.

    Time is counted in allocations: the one at time t is the t-th.

    Attributes:
        nbytes: its size.
        shape: of the tensor that it was made for.
        born: when it was made.
        recorded: whether autograd was recording then, as in a forward pass.
        in_backward: whether a backward pass was running then.
        died: the time of the last allocation before it was freed; None while it is alive.
        label: what it is, where somebody said so.
    """

    nbytes: int
    shape: tuple[int, ...]
    born: int
    recorded: bool
    in_backward: bool
    died: int | None = None
    label: str = ""

    def alive_at(self, time: int) -> bool:
        """Whether it exists right after the allocation at ``time``."""
        return self.born <= time and (self.died is None or self.died >= time)


class AllocationTracker(TorchDispatchMode):
    """Records the storages that operators return while it is active.

    A storage is held by a weak reference, so that tracking does not prolong its life, and counts
    once however many tensors view it; operators that work in place return none that is new. Of
    what an operator allocates and frees within itself, the casts of element-wise ones are added,
    as a CPU makes them; the rest is not seen, nor is what is made without an operator, such as
    the state of a random generator that activation checkpointing stores.

    It sees the operators below autograd, as they run, forward and backward. While a dispatch mode
    is active autograd avoids working in place, in two ways. Its sums of the gradients that reach
    one tensor are corrected for. The gradients of a few operators, such as indexing, fill a copy
    of their zeros instead, and that copy is one too many.
    """

    def __init__(self) -> None:
        super().__init__()
        self.allocations: list[Allocation] = []
        self._live: dict[int, tuple[weakref.ref[Any], Allocation]] = {}
        self._sum: tuple[int, Allocation] | None = None

    @property
    def now(self) -> int:
        """How many allocations there were."""
        return len(self.allocations)

    def label(self, tensors: Iterable[Tensor], label: str) -> None:
        """Say what the storages of ``tensors`` are; those made before tracking are added."""
        for tensor in tensors:
            self._note(tensor).label = label

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and note what it returns."""
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            self._note(tensor)
        for nbytes in _casts(func, args):
            self._note_passing(nbytes)
        summed = func is _ADD and _in_backward() and not torch.is_grad_enabled()
        if summed and args[0]._base is None:  # autograd never adds in a view's place
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
        """Note what an operator made and freed again."""
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
        # A sum of gradients whose first operand ends with it: untracked, it is added in place.
        if self._sum == (allocation.died, allocation):
            allocation.died -= 1


def _tensors(result: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_iter(result) if isinstance(leaf, Tensor))


def _casts(func: Any, operands: Any) -> Iterator[int]:
    """Bytes of the copies with which a CPU brings operands of several types to a common one.

    Element-wise operators alone do so; a CUDA kernel casts number by number.
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
