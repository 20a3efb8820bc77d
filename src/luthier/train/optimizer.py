"""AdamW over the trained weights, and its state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from luthier.config import MethodConfig
from luthier.train.weights import Local, TrainedWeights


def make_optimizer(weights: TrainedWeights, method: MethodConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) with decay on matrices only.

    Norms and biases are not decayed: pulling a scale towards zero is no regularisation.
    """
    matrices = [p for p in weights.masters.values() if p.ndim >= 2]
    others = [p for p in weights.masters.values() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": method.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=method.learning_rate, fused=True
    )


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, weights: TrainedWeights
) -> dict[str, Tensor]:
    """The optimizer's state, keyed ``<parameter>/<what>``."""
    return {
        f"{name}/{key}": value
        for name, master in weights.masters.items()
        for key, value in optimizer.state[master].items()
    }


def load_optimizer_tensors(
    optimizer: torch.optim.Optimizer,
    weights: TrainedWeights,
    tensors: Mapping[str, Tensor],
    local: Local,
) -> None:
    """Put a state that `optimizer_tensors` gave back, of each tensor this process's part."""
    for key, value in tensors.items():
        name, _, what = key.rpartition("/")
        master = weights.masters[name]
        # AdamW keeps its step counter where the fused kernel wants it: beside the parameter.
        optimizer.state[master][what] = local(value, master)
