"""Bottleneck adapters as torch modules, and their files (Houlsby et al. 2019, arXiv 1902.00751).

An adapter is a child of the linear layer whose output it changes with a hook, so the model keeps
its class and its parameters keep their names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from luthier.config.methods import Placement
from luthier.core.choices import ADAPTER_PLACES
from luthier.core.targets import ends_with
from luthier.models.kinds import frozen_pattern, is_frozen
from luthier.records.base import Record

_CHILD = "bottleneck_adapter"


class BottleneckAdapter(nn.Module):
    """``x + up(gelu(down(x)))`` in float32; up starts at zero, which changes nothing."""

    def __init__(self, width: int, bottleneck: int, device: torch.device) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck, device=device, dtype=torch.float32)
        self.up = nn.Linear(bottleneck, width, device=device, dtype=torch.float32)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """``x`` with the update, in the dtype of ``x``."""
        inner = nn.functional.gelu(self.down(x_BTD.to(torch.float32)))
        update: Tensor = self.up(inner)
        return x_BTD + update.to(x_BTD.dtype)


class AdapterRecord(Record):
    """``adapter_config.json`` of bottleneck adapters; peft's files have no ``adapter_type``."""

    adapter_type: Literal["bottleneck"] = "bottleneck"
    base_model: str
    bottleneck: int = Field(ge=1)
    placement: Placement


def insert_adapters(model: Any, names: Collection[str], bottleneck: int) -> None:
    """Attach an adapter to some linear layers, and freeze everything else.

    Args:
        model: a transformers model; it is modified.
        names: names of linear layers, from `places`.
        bottleneck: the bottleneck width.
    """
    model.requires_grad_(False)
    for name in names:
        linear = model.get_submodule(name)
        adapter = BottleneckAdapter(_width(linear), bottleneck, linear.weight.device)
        linear.add_module(_CHILD, adapter)
        linear.register_forward_hook(_apply)


def has_adapters(model: Any) -> bool:
    """Whether the model has adapters from `insert_adapters`."""
    return any(isinstance(module, BottleneckAdapter) for module in model.modules())


def save_adapters(
    model: Any, base_model: str, folder: Path, state: Mapping[str, Tensor] | None = None
) -> None:
    """Write ``adapter_config.json`` and ``adapter_model.safetensors``, with adapters only.

    Args:
        model: the model with adapters.
        base_model: the name of the base model.
        folder: the target folder.
        state: the full tensors, if the model holds only shards.
    """
    adapters = dict(_adapters(model))
    after_mlp = {f"{name}.{_CHILD}" for name in places(model, "pfeiffer")}
    placement: Placement = "pfeiffer" if after_mlp.issuperset(adapters) else "houlsby"
    bottleneck = next(iter(adapters.values())).down.out_features
    record = AdapterRecord(base_model=base_model, bottleneck=bottleneck, placement=placement)
    record.write(folder / "adapter_config.json")
    tensors = _tensors(model)
    if state is not None:
        tensors = {name: state[name] for name in tensors}
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})


def load_adapters(model: Any, folder: Path) -> Any:
    """The model with adapters from `save_adapters`; it is modified.

    Raises:
        DataError: the record does not describe bottleneck adapters.
        ValueError: the weights do not match adapters in this model.
        SafetensorError: the weights are not readable.
    """
    record = AdapterRecord.read(folder / "adapter_config.json")
    saved = load_file(folder / "adapter_model.safetensors")
    names = _require_fitting(model, record, saved)
    insert_adapters(model, names, record.bottleneck)
    with torch.no_grad():
        for name, value in _tensors(model).items():
            value.copy_(saved[name])
    return model


def _apply(linear: Any, _inputs: Any, output: Tensor) -> Tensor:
    changed: Tensor = getattr(linear, _CHILD)(output)
    return changed


def places(model: Any, placement: Placement) -> tuple[str, ...]:
    """The names of linear layers that adapters may follow.

    Args:
        model: a transformers model.
        placement: after attention and MLP, or after the MLP only.
    """
    frozen = frozen_pattern(model)
    return tuple(
        name
        for name, module in model.named_modules()
        if ends_with(name, ADAPTER_PLACES[placement])
        and hasattr(module, "weight")
        and not is_frozen(name, frozen)
    )


def _width(linear: Any) -> int:
    """The output width of a linear layer; transformers' Conv1D calls it ``nf``."""
    return int(getattr(linear, "nf", None) or linear.out_features)


def _adapters(model: Any) -> Iterator[tuple[str, BottleneckAdapter]]:
    for name, module in model.named_modules():
        if isinstance(module, BottleneckAdapter):
            yield name, module


def _tensors(model: Any) -> dict[str, Tensor]:
    return {
        f"{name}.{part}": value
        for name, adapter in _adapters(model)
        for part, value in adapter.state_dict().items()
    }


def _require_fitting(
    model: Any, record: AdapterRecord, saved: dict[str, Tensor]
) -> tuple[str, ...]:
    """The adapted layers, after comparing all shapes before anything is allocated.

    Returns:
        The names of the adapted layers.
    """
    names = tuple(
        name for name in places(model, record.placement) if f"{name}.{_CHILD}.down.weight" in saved
    )
    expected: dict[str, tuple[int, ...]] = {}
    for name in names:
        width, inner = _width(model.get_submodule(name)), record.bottleneck
        expected |= {
            f"{name}.{_CHILD}.down.weight": (inner, width),
            f"{name}.{_CHILD}.down.bias": (inner,),
            f"{name}.{_CHILD}.up.weight": (width, inner),
            f"{name}.{_CHILD}.up.bias": (width,),
        }
    found = {name: tuple(value.shape) for name, value in saved.items()}
    if not expected or found != expected:
        wrong = sorted(name for name, _ in found.items() ^ expected.items())
        raise ValueError(f"{wrong[0] if wrong else 'every tensor'} is missing or of another shape")
    return names
