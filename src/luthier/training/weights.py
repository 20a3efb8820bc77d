"""The trained parameters, with float32 masters where the model holds bfloat16, unless unwanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from luthier.core.errors import DataError

Local = Callable[[Tensor, Tensor], Tensor]


class TrainedWeights:
    """What the optimizer updates.

    A bfloat16 weight has 8 bits of precision, so an update below 1/256 of it would vanish. Such
    weights get a float32 master: gradients of all micro-batches are summed into the master's
    gradient, the optimizer updates the master, and the model gets a rounded copy.

    Without masters the optimizer updates the weight itself, and has to round stochastically. Then
    gradients are summed in bfloat16, each sum rounded to the nearest: an error of at most 1/512 of
    the sum for each micro-batch, which the noise of a batch hides until there are hundreds of them.

    Args:
        model: what requires a gradient in it is trained.
        master_weights: whether bfloat16 weights get masters.
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
        """How many numbers are trained."""
        return sum(parameter.numel() for parameter in self.parameters.values())

    @property
    def is_pure(self) -> bool:
        """Whether the optimizer updates bfloat16 numbers."""
        return any(master.dtype == torch.bfloat16 for master in self.masters.values())

    @torch.no_grad()
    def sync_to_model(self) -> None:
        """Copy the masters into the model."""
        for name, parameter in self.parameters.items():
            if self.masters[name] is not parameter:
                parameter.copy_(self.masters[name])

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor], local: Local) -> None:
        """Put saved values into the masters and the model.

        Args:
            tensors: whole, by the names of parameters.
            local: from a whole tensor, and one of this process, to its part.

        Raises:
            DataError: one is missing, unknown, of another shape or kind, or not finite.
        """
        require_same(self.masters, tensors)
        for name, master in self.masters.items():
            master.copy_(local(tensors[name], master))
        self.sync_to_model()


def require_same(own: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """Check saved values before one of them is copied: torch would repeat a small one to fit.

    Raises:
        DataError: one is missing, unknown, of another shape or kind, or not finite.
    """
    if wrong := sorted(own.keys() ^ saved.keys()):
        raise DataError(f"{wrong[0]} is in one of the training and the checkpoint only")
    for name, value in saved.items():
        if value.shape != own[name].shape or not value.is_floating_point():
            raise DataError(f"{name} is {list(value.shape)} of {value.dtype} in the checkpoint")
        if not bool(value.isfinite().all()):
            raise DataError(f"{name} holds numbers that are not finite in the checkpoint")


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
