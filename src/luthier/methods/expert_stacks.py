"""Matrices stacked in one tensor, such as experts, and their names in peft.

Transformers 5 stores the experts of most models as stacked parameters, not as modules. For some
models peft maps the experts' former module names to these stacks. Other modules with the same
suffixes, such as the layers of a shared expert, then get no adapter. Parameters are addressed by
full names, so this does not affect them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from luthier.core.errors import UsageError
from luthier.core.targets import Names, Selection, is_named


@dataclass(frozen=True, slots=True)
class Stack:
    """A parameter that stacks several matrices, or the router's single matrix.

    Attributes:
        name: the name of the parameter.
        parts: the names that one expert's matrices would have as modules.
    """

    name: str
    parts: tuple[str, ...] = ()

    @property
    def holder(self) -> str:
        """The module that contains the parameter."""
        return self.name.rpartition(".")[0]

    def is_named(self, names: Names) -> bool:
        """Whether the names match the parameter or one of its parts."""
        return any(is_named(one, names) for one in (self.name, *self.parts))

    def is_excluded(self, selection: Selection) -> bool:
        """Whether it is excluded as a whole, by its own name or its module's."""
        return selection.excludes(self.name) or selection.excludes(self.holder)

    def takes(self, selection: Selection, where: str) -> bool:
        """Whether it is selected.

        Raises:
            UsageError: only some of its parts are selected.
        """
        if self.is_excluded(selection):
            return False
        if not selection.is_all_linear and is_named(self.name, selection.targets):
            return True
        chosen = [part for part in self.parts if selection.takes(part)]
        if 0 < len(chosen) < len(self.parts):
            ends = ", ".join(part.rpartition(".")[2] for part in self.parts)
            raise UsageError(
                f"{self.name} holds {ends} fused in one tensor, but only "
                f"{', '.join(part.rpartition('.')[2] for part in chosen)} is named",
                where=where,
                fix=f"name all of {ends}, or none",
            )
        return bool(chosen)


def converted_names(model: Any) -> Mapping[str, str]:
    """Names that peft's LoRA maps to parameters: from a module's last name to the parameter's."""
    from peft.utils import transformers_weight_conversion as conversion

    kind = conversion._MODEL_TO_CONVERSION_PATTERN.get(getattr(model.config, "model_type", None))
    names: Mapping[str, str] = conversion._MOE_TARGET_MODULE_MAPPING.get(kind, {})
    return names


def lost_names(model: Any, names: Iterable[str]) -> frozenset[str]:
    """The modules whose LoRA weights peft could not load from a file.

    While reading an adapter, peft renames weights as transformers renames those of a model's older
    files. If such a pattern matches the current name too, the weights are lost.

    Args:
        model: a transformers model without an adapter.
        names: modules that would be adapted.
    """
    from peft import LoraConfig
    from peft.utils.transformers_weight_conversion import build_peft_weight_mapping
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import (
        WeightConverter,
        WeightRenaming,
        rename_source_key,
    )

    conversions = get_model_conversion_mapping(model)
    mapping = build_peft_weight_mapping(conversions, "default", LoraConfig())
    renamings = [one for one in mapping if isinstance(one, WeightRenaming)]
    converters = [one for one in mapping if isinstance(one, WeightConverter)]
    lost = []
    for name in names if renamings else ():
        stored = f"base_model.model.{name}.lora_A.weight"
        found, converter = rename_source_key(stored, renamings, converters)
        kept = found.replace(".default.", ".")
        if converter is None and not stored.endswith(kept):
            lost.append(name)
    return frozenset(lost)


def stacks_in(model: Any, modules: Mapping[str, Any]) -> tuple[Stack, ...]:
    """All stacks in the given modules of a model, in its order.

    Args:
        model: a transformers model without an adapter.
        modules: the modules to search, by name.
    """
    from torch.nn import Linear
    from torch.nn.modules.conv import _ConvNd

    known = converted_names(model)
    found = []
    for holder, module in modules.items():
        for own, parameter in module.named_parameters(recurse=False):
            name = f"{holder}.{own}"
            stack = Stack(name, _parts(name, known) if not isinstance(module, Linear) else ())
            is_stack = parameter.dim() > 2 and not isinstance(module, _ConvNd)
            if is_stack or stack.parts:
                found.append(stack)
    return tuple(found)


def _parts(name: str, known: Mapping[str, str]) -> tuple[str, ...]:
    """The former names of a parameter's matrices, in the order in which peft fuses them."""
    return tuple(
        f"{name.removesuffix(new)}{old}" for old, new in known.items() if name.endswith(f".{new}")
    )


def patterns(stacks: Collection[Stack], value: float) -> dict[str, float]:
    """Peft's patterns that multiply a value for a stack by the number of fused matrices.

    So each matrix has the same rank and scale alpha / rank as a separate one.
    """
    return {
        re.sub(r"\\\.\d+(?=\\\.)", r"\\.\\d+", re.escape(stack.name)): value * len(stack.parts)
        for stack in stacks
        if len(stack.parts) > 1
    }
