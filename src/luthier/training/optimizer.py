"""The optimizer, and its state as named tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from luthier.config import TrainConfig
from luthier.config.train import OptimizerName
from luthier.core.errors import DataError, UsageError
from luthier.distributed.process_group import ProcessGroup
from luthier.training.job import TrainingJob
from luthier.training.stochastic_rounding import StochasticAdamW
from luthier.training.weights import Local, TrainedWeights

Groups = list[dict[str, Any]]
Form = tuple[tuple[int, ...], torch.dtype]
"""Shape and dtype of a saved tensor."""

# Bitsandbytes' tables of 8-bit values, shared by all weights.
_CONSTANT = {"qmap1", "qmap2"}
_STEP = "step"


def _eight_bit_adamw(groups: Groups, lr: float, *, is_paged: bool = False) -> torch.optim.Optimizer:
    """AdamW with 8-bit moments (Dettmers et al. 2022, 2110.02861), float32 for small tensors."""
    from bitsandbytes.optim import AdamW8bit

    optimizer: Any = AdamW8bit(groups, lr=lr, is_paged=is_paged)
    # States are created at once, so that a resume finds them in place, paged ones too.
    for index, group in enumerate(optimizer.param_groups):
        for position, weight in enumerate(group["params"]):
            optimizer.init_state(group, weight, index, position)
    return optimizer  # type: ignore[no-any-return]


def _moments(master: Tensor) -> dict[str, Form]:
    """The state that Adam creates in its first step."""
    like = (tuple(master.shape), master.dtype)
    return {_STEP: ((), torch.float32), "exp_avg": like, "exp_avg_sq": like}


def _factors(master: Tensor) -> dict[str, Form]:
    """The state of Adafactor: row and column sums, or squares for tensors that are not matrices."""
    *outer, last = master.shape or (1,)
    step: dict[str, Form] = {_STEP: ((), torch.float32)}
    if not outer:
        return step | {"variance": (tuple(master.shape), master.dtype)}
    rows, columns = (*outer, 1), (*outer[:-1], 1, last)
    return step | {"row_var": (rows, master.dtype), "col_var": (columns, master.dtype)}


_MADE_IN_A_STEP: Mapping[type, Callable[[Tensor], dict[str, Form]]] = {
    torch.optim.AdamW: _moments,
    torch.optim.Adafactor: _factors,
    torch.optim.SGD: lambda _master: {},
}
"""The state of a weight, for optimizers that create it at the first update."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of optimizer.

    Attributes:
        make: from parameter groups and a learning rate to the optimizer.
        shards: whether it works on shards of weights.
        package: the package that it needs besides torch.
        cuda_only: whether it needs a CUDA device.
    """

    make: Callable[[Groups, float], torch.optim.Optimizer]
    shards: bool = False
    package: str = ""
    cuda_only: bool = False


_KINDS: Mapping[OptimizerName, _Kind] = {
    "adamw": _Kind(partial(torch.optim.AdamW, fused=True), shards=True),
    # Blocks of 256 numbers and row or column sums do not align with shards.
    "adamw-8bit": _Kind(_eight_bit_adamw, package="bitsandbytes"),
    "paged-adamw-8bit": _Kind(
        partial(_eight_bit_adamw, is_paged=True), package="bitsandbytes", cuda_only=True
    ),
    "adafactor": _Kind(torch.optim.Adafactor),
    "sgd": _Kind(partial(torch.optim.SGD, foreach=False), shards=True),
}


def require_optimizer(train: TrainConfig, device: torch.device, processes: ProcessGroup) -> None:
    """Check that the configured optimizer works here, without creating it.

    Raises:
        UsageError: it does not; the message gives the reason.
    """
    name, where = train.optimizer, "train.optimizer"
    kind = _KINDS[name]
    if not train.master_weights and name != "adamw":
        raise UsageError(
            f"{name} rounds to nearest, so small updates of bfloat16 weights are lost",
            where="train.master_weights",
            fix="enable master_weights, or choose adamw, which rounds stochastically",
        )
    if kind.package and find_spec(kind.package) is None:
        raise UsageError(
            f"{name} needs {kind.package}", where=where, fix="pip install 'luthier[quantised]'"
        )
    if kind.cuda_only and device.type != "cuda":
        raise UsageError(
            f"{name} pages its states between a CUDA device and the host, but this device is a "
            f"{device.type}",
            where=where,
            fix=f"choose {name.removeprefix('paged-')}",
        )
    if train.shards(processes.size) and not kind.shards:
        raise UsageError(
            f"{name} has block-wise or factored states, which cannot be sharded",
            where=where,
            fix="choose adamw or sgd, or train.parallelism=ddp",
        )


def make_optimizer(weights: TrainedWeights, job: TrainingJob) -> torch.optim.Optimizer:
    """The configured optimizer, with weight decay on matrices only.

    Norms and biases have no decay: shrinking a scale towards zero is not regularisation.

    Raises:
        UsageError: it does not work here.
    """
    require_optimizer(job.train, job.loaded.device, job.parallelism.processes)
    matrices = [p for p in weights.masters.values() if p.ndim >= 2]
    others = [p for p in weights.masters.values() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": job.method.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if weights.is_pure:
        return StochasticAdamW(groups, job.method.learning_rate, job.parallelism.held)
    return _KINDS[job.train.optimizer].make(groups, job.method.learning_rate)


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, weights: TrainedWeights
) -> dict[str, Tensor]:
    """The optimizer's state, keyed ``<parameter>/<name>``; numbers become tensors."""
    return {
        f"{name}/{key}": torch.as_tensor(value)
        for name, master in weights.masters.items()
        for key, value in optimizer.state[master].items()
        if key not in _CONSTANT
    }


def load_optimizer_tensors(
    optimizer: torch.optim.Optimizer,
    weights: TrainedWeights,
    tensors: Mapping[str, Tensor],
    local: Local,
) -> None:
    """Restore a state from `optimizer_tensors`, this process's shard of each tensor.

    Every tensor is checked before the first is used. A weight without updates has no state.

    Raises:
        DataError: a state belongs to an untrained weight, is incomplete, has another shape or
            dtype, or is not finite.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        name, _, what = key.rpartition("/")
        if name not in weights.masters:
            raise DataError(f"the checkpoint has a state of {name!r}, which is not trained")
        parts.setdefault(name, {})[what] = value
    for name, saved in parts.items():
        _require_fitting(name, saved, _forms(optimizer, weights.masters[name]))
    for name, saved in parts.items():
        master = weights.masters[name]
        state = optimizer.state[master]
        for what, value in saved.items():
            held = state.get(what)
            if isinstance(held, Tensor):
                held.copy_(local(value, master))
            elif isinstance(held, int):
                state[what] = int(value)
            else:
                # AdamW keeps its step counter on the weight's device, as the fused kernel requires.
                state[what] = local(value, master)


def _forms(optimizer: torch.optim.Optimizer, master: Tensor) -> dict[str, Form]:
    """The expected form of a weight's saved state: that of its current state, if any."""
    held = {key: value for key, value in optimizer.state[master].items() if key not in _CONSTANT}
    if held:
        made = {key: torch.as_tensor(value) for key, value in held.items()}
        return {key: (tuple(value.shape), value.dtype) for key, value in made.items()}
    return _MADE_IN_A_STEP[type(optimizer)](master)


def _require_fitting(name: str, saved: Mapping[str, Tensor], forms: Mapping[str, Form]) -> None:
    """Check the saved state of a weight against the optimizer's."""
    if wrong := sorted(saved.keys() ^ forms.keys()):
        raise DataError(f"{name}/{wrong[0]} is missing in either the optimizer or the checkpoint")
    for what, value in saved.items():
        form = tuple(value.shape), value.dtype
        if form != forms[what]:
            shape, kind = forms[what]
            raise DataError(
                f"{name}/{what} in the checkpoint is {list(value.shape)} of {value.dtype}; the "
                f"optimizer has {list(shape)} of {kind}"
            )
        if not bool(value.isfinite().all()) or (what == _STEP and float(value) < 0):
            raise DataError(f"{name}/{what} in the checkpoint has invalid numbers")
