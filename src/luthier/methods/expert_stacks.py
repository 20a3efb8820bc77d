"""Matrices that lie in one tensor, as those of experts do, and how peft names them.

Transformers 5 keeps the experts of most models in stacks, which are no modules. Of some models peft
knows which names the matrices had before, and takes these for the stacks: whatever else ends so, as
the layers of a shared expert do, gets no adapter then. Parameters, which peft takes by whole names,
are free of that.
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
    """A parameter that holds several matrices, or the one of a router.

    Attributes:
        name: of the parameter.
        parts: names that its matrices would have as modules; those of one expert, not of each.
    """

    name: str
    parts: tuple[str, ...] = ()

    @property
    def holder(self) -> str:
        """The module that holds it."""
        return self.name.rpartition(".")[0]

    def is_named(self, names: Names) -> bool:
        """Whether a name is its own or a part's."""
        return any(is_named(one, names) for one in (self.name, *self.parts))

    def is_excluded(self, selection: Selection) -> bool:
        """Whether the whole of it is, by its own name or its module's."""
        return selection.excludes(self.name) or selection.excludes(self.holder)

    def takes(self, selection: Selection, where: str) -> bool:
        """Whether it is selected.

        Raises:
            UsageError: a part of it is, and the others are not.
        """
        if self.is_excluded(selection):
            return False
        if not selection.is_all_linear and is_named(self.name, selection.targets):
            return True
        chosen = [part for part in self.parts if selection.takes(part)]
        if 0 < len(chosen) < len(self.parts):
            ends = ", ".join(part.rpartition(".")[2] for part in self.parts)
            raise UsageError(
                f"{self.name} holds {ends} fused in one tensor, and only "
                f"{', '.join(part.rpartition('.')[2] for part in chosen)} of it is named",
                where=where,
                fix=f"name all of {ends}, or none",
            )
        return bool(chosen)


def converted_names(model: Any) -> Mapping[str, str]:
    """Names that peft's LoRA takes for parameters: from a module's last name to the parameter's."""
    from peft.utils import transformers_weight_conversion as conversion

    kind = conversion._MODEL_TO_CONVERSION_PATTERN.get(getattr(model.config, "model_type", None))
    names: Mapping[str, str] = conversion._MOE_TARGET_MODULE_MAPPING.get(kind, {})
    return names


def lost_names(model: Any, names: Iterable[str]) -> frozenset[str]:
    """Those modules of which peft would not find LoRA's weights again in a file.

    While it reads an adapter, peft renames weights as transformers renames those of a model's older
    files. A pattern that matches today's name as well spoils it.

    Args:
        model: a transformers model, without an adapter.
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
    """All stacks in some modules of a model, in its order.

    Args:
        model: a transformers model, without an adapter.
        modules: those to look at, by name.
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
    """The names that the matrices of a parameter had, in the order in which peft fuses them."""
    return tuple(
        f"{name.removesuffix(new)}{old}" for old, new in known.items() if name.endswith(f".{new}")
    )


def patterns(stacks: Collection[Stack], value: float) -> dict[str, float]:
    """Peft's patterns that give a stack of fused matrices as many times a value as it fuses.

    So each matrix has the rank, and the share alpha / rank, that it would have by itself.
    """
    return {
        re.sub(r"\\\.\d+(?=\\\.)", r"\\.\\d+", re.escape(stack.name)): value * len(stack.parts)
        for stack in stacks
        if len(stack.parts) > 1
    }
