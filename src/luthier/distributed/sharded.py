"""Fully sharded data parallelism (FSDP): each process holds a shard of every weight.

Zhao et al. 2023 (arXiv 2304.11277), as in torch's ``fully_shard``: a layer's weights are gathered
when it computes and released afterwards; gradients are reduced and scattered; optimizer states
exist for a process's own shard only. Hybrid sharding divides the processes into groups that hold
one copy each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn import Module, ModuleList, Parameter

from luthier.core.errors import UsageError
from luthier.distributed.parallelism import Parallelism, Share, partition
from luthier.distributed.process_group import ProcessGroup


class Sharded(Parallelism):
    """A shard of each weight in every process.

    Args:
        processes: the processes.
        group: number of processes that share one copy; None: all.
        whole_in_pass: whether gathered weights stay from the forward to the backward pass, as in
            ZeRO stage 2 (Rajbhandari et al. 2020, arXiv 1910.02054).

    Raises:
        UsageError: the processes cannot be divided into such groups.
    """

    def __init__(
        self, processes: ProcessGroup, group: int | None = None, *, whole_in_pass: bool = False
    ) -> None:
        super().__init__(processes)
        size = group or processes.size
        if processes.size % size:
            raise UsageError(
                f"{processes.size} processes cannot be divided into groups of {size}",
                where="train.shard_group",
                fix="choose a group size that divides their number",
            )
        self._group = size
        self._gathers_again = not whole_in_pass

    def place(self, model: Any, device: torch.device) -> torch.device:
        """See `Parallelism.place`: each layer is sharded, then the parameters outside of layers.

        A model in host memory moves to the device layer by layer, so that a model too large for one
        device is never whole on any.
        """
        mesh = self._mesh()
        self.processes.share_first([p.data for p in model.parameters() if p.requires_grad])
        for layer in _layers(model):
            fully_shard(layer, mesh=mesh, reshard_after_forward=self._gathers_again)
        fully_shard(model, mesh=mesh)
        for module in _sharded(model):
            # Losses are already divided by all trained tokens, so gradients are summed.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
        return self.processes.device

    def settle(self, model: Any) -> None:
        """See `Parallelism.settle`."""
        for module in _sharded(model):
            module.reshard()

    def _mesh(self) -> DeviceMesh:
        kind, groups = self.processes.device.type, self.processes.size // self._group
        if groups == 1:
            return init_device_mesh(kind, (self.processes.size,))
        return init_device_mesh(kind, (groups, self._group), mesh_dim_names=("replicate", "shard"))

    def shares(self, cuts: Sequence[list[int]], lengths: Sequence[int]) -> list[Share]:
        """See `Parallelism.shares`. All make equally many passes, since each gathers from all."""
        hands = partition(cuts, lengths, self.processes.size)
        own = [Share(cut) for cut in hands[self.processes.rank]]
        shortest = min((cut for hand in hands for cut in hand), key=lambda cut: lengths[cut[0]])
        missing = max(map(len, hands)) - len(own)
        return own + [Share(shortest[:1], counts=False)] * missing

    def reduce(self, weights: Iterable[Parameter]) -> None:
        """See `Parallelism.reduce`: done in the backward pass."""

    def whole(self, tensor: Tensor) -> Tensor:
        """See `Parallelism.whole`."""
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    def local(self, whole: Tensor, like: Tensor) -> Tensor:
        """See `Parallelism.local`."""
        if not isinstance(like, DTensor) or whole.ndim == 0:
            return whole.to(like.device)
        # Every process has read the same file, so nothing is sent.
        there = whole.to(like.device)
        return distribute_tensor(there, like.device_mesh, like.placements, src_data_rank=None)

    def held(self, tensor: Tensor) -> Tensor:
        """See `Parallelism.held`."""
        return tensor.to_local() if isinstance(tensor, DTensor) else tensor

    def state(self, model: Any) -> dict[str, Tensor] | None:
        """See `Parallelism.state`: one tensor at a time, so that other ranks never hold all."""
        tensors: dict[str, Tensor] = {}
        for name, value in model.state_dict().items():
            whole = self.whole(value)
            if self.processes.is_first:
                tensors[name] = whole.cpu()
        return tensors


def _sharded(model: Any) -> Iterator[FSDPModule]:
    """The modules that gather weights."""
    return (module for module in model.modules() if isinstance(module, FSDPModule))


def _layers(model: Any) -> list[Module]:
    """The repeated blocks: modules that transformers never splits, otherwise list members."""
    names = set(getattr(model, "_no_split_modules", None) or ())
    blocks = [module for module in model.modules() if type(module).__name__ in names]
    if blocks:
        return blocks
    lists = [list(module) for module in model.modules() if isinstance(module, ModuleList)]
    return max(lists, key=len, default=[])
