"""Search for adaptable modules of a model.

Names follow peft's rules: a list contains suffixes of names, a text is a regular expression for
whole names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from luthier.core.errors import UsageError
from luthier.core.names import did_you_mean, listed
from luthier.core.parameter_names import without_numbers
from luthier.core.patterns import matching
from luthier.core.targets import Names, ends_with, is_named, layer_of
from luthier.methods.expert_stacks import Stack
from luthier.methods.gradient_reach import Reach

_LISTED = 12
# State-space layers pass the weights of these modules to fused kernels, bypassing any adapter. For
# the first five peft refuses them; transformers' code for the others does the same.
_FUSED_MODELS = frozenset(
    {"mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h"}
    | {"bamba", "granitemoehybrid", "jamba", "zamba2"}
)
_FUSED_MODULES = ("out_proj", "conv1d", "dt_proj")
# Packages of model code, which may call a layer linear that computes something else.
_MODELS = ("transformers.models.", "transformers_modules.")


@dataclass(frozen=True, slots=True)
class Search:
    """Search among adaptable modules.

    Attributes:
        model: a transformers model without an adapter.
        modules: the adaptable modules, by name.
        stacks: the adaptable parameters.
        embeddings: whether embeddings are adaptable.
        reach: the reach of the model.
    """

    model: Any
    modules: Mapping[str, Any]
    stacks: Sequence[Stack]
    embeddings: bool
    reach: Reach

    def named(self, names: Names) -> list[str]:
        """The modules that match the names."""
        if isinstance(names, str):
            return matching(names, self.modules, whole=True)
        return [name for name in self.modules if ends_with(name, names)]

    def linear(self) -> list[str]:
        """All linear layers except the output layer, as in peft's all-linear."""
        output = self.model.get_output_embeddings()
        return [
            name
            for name, module in self.modules.items()
            if is_linear(module) and module is not output
        ]

    def can_learn(self, name: str) -> bool:
        """Whether an adapter on the module would affect the output, on any device."""
        return self.reach.has_module(name) and not self.is_fused(name)

    def is_fused(self, name: str) -> bool:
        """Whether a kernel reads the module's weight directly, bypassing adapters."""
        if self.model.config.get_text_config().model_type not in _FUSED_MODELS:
            return False
        parent, _, own = name.rpartition(".")
        return own in _FUSED_MODULES and hasattr(self.modules.get(parent), "A_log")

    def alike(self, names: Iterable[str]) -> tuple[str, ...]:
        """Other modules of the whole model whose names end like the given ones."""
        meant = set(names)
        return tuple(
            name
            for name, _ in self.model.named_modules()
            if name not in meant and any(end in meant for end in _ends(name))
        )

    def require_named(self, entry: Names, where: str) -> None:
        """Check that a target matches something that can learn.

        Raises:
            UsageError: it matches nothing, or only modules that the output does not depend on.
        """
        if any(stack.is_named(entry) for stack in self.stacks):
            return
        self._require_matched(entry, where)
        found = self.named(entry)
        if not any(self.reach.has_module(name) for name in found):
            raise UsageError(
                f"the output of {type(self.model).__name__} does not depend on {found[0]}, so an "
                "adapter there would learn nothing",
                where=where,
                fix=f"remove it; adaptable modules: {self.overview()}",
            )

    def require_adaptable(self, name: str, where: str) -> None:
        """Check that a named module can be adapted.

        Raises:
            UsageError: it is of an unsupported kind, or kernels bypass it.
        """
        if self.is_fused(name):
            raise UsageError(
                f"{name} cannot be adapted: fused kernels read its weight and bypass adapters",
                where=where,
                fix=f"remove it; adaptable modules: {self.overview()}",
            )
        if not self._is_adaptable(self.modules[name]):
            kinds = "linear layers and embeddings" if self.embeddings else "linear layers"
            raise UsageError(
                f"{name} cannot be adapted: it is a {type(self.modules[name]).__name__}, and this "
                f"method adapts {kinds}",
                where=where,
                fix=f"adaptable modules: {self.overview()}",
            )

    def require_excluded(self, entry: Names, where: str) -> None:
        """Check that an exclusion matches something adaptable.

        Raises:
            UsageError: it matches nothing, or a container, whose modules peft would still adapt.
        """
        if any(one.is_named(entry) or is_named(one.holder, entry) for one in self.stacks):
            return
        self._require_matched(entry, where)
        found = self.named(entry)
        if any(self._is_adaptable(self.modules[name]) for name in found):
            return
        own = without_numbers(found[0]).rpartition(".")[2]
        raise UsageError(
            f"{found[0]} is a {type(self.modules[found[0]]).__name__}: excluding it has no effect, "
            "since an exclusion does not reach inside a module",
            where=where,
            fix=rf"give a regular expression for the modules inside, such as '.*\.{own}\..*'",
        )

    def require_layers(self, layers: Sequence[int], where: str) -> None:
        """Check that layers with the given numbers exist.

        Raises:
            UsageError: a layer does not exist.
        """
        if not layers:
            return
        known = {number for name in self.modules if (number := layer_of(name)) is not None}
        if missing := [number for number in layers if number not in known]:
            raise UsageError(
                f"{type(self.model).__name__} has no layer {missing[0]}",
                where=where,
                fix=f"its layers have the numbers 0 to {max(known)}" if known else "remove it",
            )

    def overview(self) -> str:
        """The suffixes of the names of linear layers."""
        linear = (name for name in self.linear() if self.can_learn(name))
        return listed(dict.fromkeys(name.rpartition(".")[2] for name in linear), _LISTED)

    def _require_matched(self, entry: Names, where: str) -> None:
        """Check that a target or an exclusion matches a module.

        Raises:
            UsageError: it matches none.
        """
        if self.named(entry):
            return
        kind = type(self.model).__name__
        if isinstance(entry, str):
            message = f"the regular expression {entry!r} matches no whole name of a module"
        else:
            message = f"no module's name ends with {entry[0]!r}"
        raise UsageError(f"{message} of {kind}", where=where, fix=self._nearest(entry))

    def _is_adaptable(self, module: Any) -> bool:
        return is_linear(module) or (self.embeddings and isinstance(module, torch.nn.Embedding))

    def _nearest(self, entry: Names) -> str:
        """Names similar to one that matches nothing."""
        adaptable = [name for name, one in self.modules.items() if self._is_adaptable(one)]
        there = f"adaptable modules: {self.overview()}"
        if not isinstance(entry, str):
            parts = entry[0].count(".") + 1
            ends = dict.fromkeys(".".join(name.split(".")[-parts:]) for name in adaptable)
            return f"{did_you_mean(entry[0], ends, most=2, cutoff=0.5)} {there}".strip()
        if self.named((entry,)):
            return f"a text is a regular expression for whole names: give a list, [{entry}]"
        if inside := matching(entry, adaptable):
            return f"it must match whole names, such as {inside[0]}: begin it with '.*'"
        return f"{there}; their whole names are such as {adaptable[0]}" if adaptable else there


def entries(names: Names) -> tuple[Names, ...]:
    """Each suffix of a name, or the regular expression, as separate entries."""
    if isinstance(names, str):
        return (names,)
    return tuple((name,) for name in names)


def looks_linear(module: Any) -> bool:
    """Whether a module is defined as a linear layer, whatever it computes."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, torch.nn.Linear | Conv1D)


def is_linear(module: Any) -> bool:
    """Whether a module is a linear layer that computes a plain linear map.

    Routers that return two tensors (Llama 4, Phi-MoE) and grouped products (DeepSeek-V4) are also
    defined as linear layers, but peft would add a tensor of the usual shape to their output.
    """
    if not looks_linear(module):
        return False
    kind = type(module)
    if not kind.__module__.startswith(_MODELS) or kind.forward is torch.nn.Linear.forward:
        return True
    return _gives_a_vector(module)


@torch.no_grad()
def _gives_a_vector(module: Any) -> bool:
    """Whether a module maps a vector of its input width to one of its output width."""
    x_11D = module.weight.new_zeros(1, 1, module.in_features)
    try:
        found = module(x_11D)
    except Exception:  # noqa: BLE001 - its input is something else
        return False
    return isinstance(found, torch.Tensor) and found.shape == (1, 1, module.out_features)


def _ends(name: str) -> Iterable[str]:
    """All suffixes of a name that start after a dot."""
    while "." in name:
        name = name.partition(".")[2]
        yield name
