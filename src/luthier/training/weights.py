"""The trained parameters, with optional float32 master copies of bfloat16 weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from luthier.core.errors import DataError

Local = Callable[[Tensor, Tensor], Tensor]


class TrainedWeights:
    """The tensors that the optimizer updates.

    A bfloat16 weight has 8 bits of precision, so an update below 1/256 of it would vanish. Such
    weights get a float32 master copy: gradients of all micro-batches are accumulated in the
    master's gradient, the optimizer updates the master, and the model gets a rounded copy.

    Without masters the optimizer updates the weight itself and needs stochastic rounding. Gradients
    are then accumulated in bfloat16 with rounding to nearest: an error of at most 1/512 of the sum
    per micro-batch, negligible against a batch's noise up to hundreds of micro-batches.

    Args:
        model: its parameters that require a gradient are trained.
        master_weights: whether bfloat16 weights get master copies.
    """

    def __init__(self, model: Any, master_weights: bool = True) -> None:
        self.parameters: dict[str, Parameter] = {
            name: parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        self.masters: dict[str, Parameter] = {}
        for name, parameter in self.parameters.items():
            pure = parameter.dtype == torch.bfloat16 and not master_weights
            if parameter.dtype == torch.float32 or pure:
                self.masters[name] = parameter
                continue
            master = Parameter(parameter.detach().float())
            register: Any = parameter.register_post_accumulate_grad_hook
            register(_move_gradient_to(master))
            self.masters[name] = master

    @property
    def count(self) -> int:
        """The number of trained parameters."""
        return sum(parameter.numel() for parameter in self.parameters.values())

    @property
    def is_pure(self) -> bool:
        """Whether the optimizer updates bfloat16 weights directly."""
        return any(master.dtype == torch.bfloat16 for master in self.masters.values())

    @torch.no_grad()
    def sync_to_model(self) -> None:
        """Copy the masters into the model's weights."""
        for name, parameter in self.parameters.items():
            if self.masters[name] is not parameter:
                parameter.copy_(self.masters[name])

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor], local: Local) -> None:
        """Load saved values into the masters and the model.

        Args:
            tensors: full tensors by parameter name.
            local: from a full tensor and this process's tensor to its shard.

        Raises:
            DataError: a tensor is missing, unknown, of another shape or dtype, or not finite.
        """
        require_same(self.masters, tensors)
        for name, master in self.masters.items():
            master.copy_(local(tensors[name], master))
        self.sync_to_model()


def require_same(own: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """Check all saved values before any is copied, because torch would broadcast small ones.

    Raises:
        DataError: a tensor is missing, unknown, of another shape or dtype, or not finite.
    """
    if wrong := sorted(own.keys() ^ saved.keys()):
        raise DataError(f"{wrong[0]} is missing in either the training or the checkpoint")
    for name, value in saved.items():
        if value.shape != own[name].shape or not value.is_floating_point():
            raise DataError(f"{name} is {list(value.shape)} of {value.dtype} in the checkpoint")
        if not bool(value.isfinite().all()):
            raise DataError(f"{name} has non-finite numbers in the checkpoint")


def _move_gradient_to(master: Parameter) -> Any:
    def hook(parameter: Tensor) -> None:
        gradient = parameter.grad
        if gradient is None:
            return
        if master.grad is None:
            master.grad = gradient.float()
        else:
            master.grad += gradient
        parameter.grad = None

    return hook
