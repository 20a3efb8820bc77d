"""The modules of a model that a method adapts: found, checked, and named as peft wants them.

Names are read as peft reads them: a list holds ends of names, a text is a regular expression for
whole names.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from luthier.core.errors import UsageError
from luthier.models.kinds import excluding, frozen_pattern, is_frozen
from luthier.plan.named import without_numbers
from luthier.plan.patterns import matching
from luthier.plan.targets import ALL_LINEAR, Names, Selection, ends_with

_LISTED = 12
# Their state-space layers give fused kernels the weights of these modules, past any adapter. For
# the first five peft refuses them; transformers' code of the others does the same.
_FUSED_MODELS = frozenset(
    {"mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h"}
    | {"bamba", "granitemoehybrid", "jamba", "zamba2"}
)
_FUSED_MODULES = ("out_proj", "conv1d", "dt_proj")


@dataclass(frozen=True, slots=True)
class Targets:
    """The modules that a method adapts.

    Attributes:
        names: whole names, in the model's order.
        target_modules: for peft's setting of that name.
        exclude_modules: likewise; None: nothing is excluded.
        of_experts: whether stacked experts or their router are among them, beside ``names``.
    """

    names: tuple[str, ...]
    target_modules: str | list[str]
    exclude_modules: str | list[str] | None
    of_experts: bool


def find_targets(
    model: Any,
    selection: Selection,
    where: str,
    *,
    embeddings: bool = False,
    absent: Collection[str] = (),
    experts: Collection[str] = (),
) -> Targets:
    """The modules of a model that are selected.

    Of a vision-language model only the language model has any.

    Args:
        model: a transformers model, without an adapter.
        selection: which modules.
        where: the method's settings, as ``methods.lora``.
        embeddings: whether the method adapts embeddings too.
        absent: targets that the model need not have.
        experts: as `names_of_experts` gives them.

    Raises:
        UsageError: a target or an exclusion matches nothing, a target is no module of a kind that
            can be adapted, or no module is left.
    """
    search = _Search(model, _adaptable_parts(model), embeddings)
    for entry in _entries(selection.exclude):
        search.require_excluded(entry, f"{where}.exclude_modules")
    left_out: tuple[str, ...] = ()
    if selection.is_all_linear:
        linear = search.linear()
        left_out = tuple(name for name in linear if search.is_fused(name))
        found = [name for name in linear if name not in left_out]
        left_out += search.routers()
    else:
        for entry in _entries(selection.targets):
            if not (_is_absent(entry, absent) or _covers_experts(model, entry, experts)):
                search.require_matched(entry, f"{where}.targets")
        found = search.named(selection.targets)
    names = tuple(name for name in found if not selection.excludes(name))
    if not selection.is_all_linear:
        for name in names:
            search.require_adaptable(name, f"{where}.targets")
    of_experts = any(_covers_experts(model, one, experts) for one in _entries(selection.targets))
    if not (names or of_experts):
        raise UsageError(
            f"{type(model).__name__} has no module that {where}.targets names"
            + (" and that is not excluded" if selection.exclude else ""),
            where=f"{where}.targets",
            fix=f"name modules with {where}.targets=[…]; there are {search.overview()}",
        )
    return Targets(
        names,
        _for_peft(selection, names, experts, f"{where}.targets", of_experts=of_experts),
        _exclusion(selection.exclude, frozen_pattern(model), left_out, names),
        of_experts,
    )


def _for_peft(
    selection: Selection,
    names: tuple[str, ...],
    experts: Collection[str],
    where: str,
    *,
    of_experts: bool,
) -> str | list[str]:
    """Peft's ``target_modules``.

    Of a model with stacked experts peft keeps only the last part of each name, so that an
    expression for one layer would take them all; whole names it leaves as they are.

    Raises:
        UsageError: some of the stacked experts are meant, and peft would adapt all.
    """
    targets = selection.targets
    if selection.is_all_linear or not experts:
        return targets if isinstance(targets, str) else list(targets)
    exact = list(names) if isinstance(targets, str) else list(targets)
    with_path = [one for one in exact if "." in one and one.rpartition(".")[2] in experts]
    if with_path or (of_experts and isinstance(targets, str)):
        raise UsageError(
            "peft adapts stacked experts in all layers or in none, and takes everything that ends "
            f"in {', '.join(sorted(experts))} for a part of them",
            where=where,
            fix=f"give a list of names, of experts without a path: [{', '.join(sorted(experts))}]",
        )
    return exact


def names_of_experts(model: Any) -> tuple[str, ...]:
    """Names under which LoRA's targets know the parts of stacked experts, and the router.

    Transformers 5 keeps the experts of some models in stacks; peft takes the names that their
    matrices had before.
    """
    from peft.utils import transformers_weight_conversion as conversion

    kind = conversion._MODEL_TO_CONVERSION_PATTERN.get(getattr(model.config, "model_type", None))
    return tuple(conversion._MOE_TARGET_MODULE_MAPPING.get(kind, ()))


@dataclass(frozen=True, slots=True)
class _Search:
    """Looks for modules among those that may be adapted."""

    model: Any
    modules: Mapping[str, Any]
    embeddings: bool

    def named(self, names: Names) -> list[str]:
        """The modules that are named."""
        if isinstance(names, str):
            return matching(names, self.modules, whole=True)
        return [name for name in self.modules if ends_with(name, names)]

    def linear(self) -> list[str]:
        """All linear layers but the output layer, as peft's all-linear has them."""
        output = self.model.get_output_embeddings()
        return [
            name
            for name, module in self.modules.items()
            if _is_linear(module) and module is not output
        ]

    def routers(self) -> tuple[str, ...]:
        """Routers that are written as linear layers, which peft would take for such."""
        return tuple(name for name, module in self.modules.items() if _is_router(module))

    def is_fused(self, name: str) -> bool:
        """Whether a module's weight is used past the module, so that no adapter would be seen."""
        if self.model.config.get_text_config().model_type not in _FUSED_MODELS:
            return False
        parent, _, own = name.rpartition(".")
        return own in _FUSED_MODULES and hasattr(self.modules.get(parent), "A_log")

    def require_matched(self, entry: Names, where: str) -> None:
        """Check that a target or an exclusion matches a module.

        Raises:
            UsageError: it matches none.
        """
        if self.named(entry):
            return
        kind = type(self.model).__name__
        if isinstance(entry, str):
            message = f"the regular expression {entry!r} matches the whole name of no module"
        else:
            message = f"no module's name ends with {entry[0]!r}"
        raise UsageError(f"{message} of {kind}", where=where, fix=self._nearest(entry))

    def require_adaptable(self, name: str, where: str) -> None:
        """Check that a module that is named can be adapted.

        Raises:
            UsageError: it is of another kind, or its weight is used past it.
        """
        if self.is_fused(name):
            raise UsageError(
                f"{name} cannot be adapted: fused kernels read its weight past any adapter",
                where=where,
                fix=f"leave it out; there are {self.overview()}",
            )
        if not self._is_adaptable(self.modules[name]):
            kinds = "linear layers and embeddings" if self.embeddings else "linear layers"
            raise UsageError(
                f"{name} cannot be adapted: it is a {type(self.modules[name]).__name__}, and this "
                f"method adapts {kinds}",
                where=where,
                fix=f"there are {self.overview()}",
            )

    def require_excluded(self, entry: Names, where: str) -> None:
        """Check that an exclusion matches a module that could have been adapted.

        Raises:
            UsageError: it matches none; or a part of the model, whose own modules peft keeps.
        """
        self.require_matched(entry, where)
        found = self.named(entry)
        if any(self._is_adaptable(self.modules[name]) for name in found):
            return
        own = without_numbers(found[0]).rpartition(".")[2]
        raise UsageError(
            f"{found[0]} is a {type(self.modules[found[0]]).__name__}: excluding it leaves nothing "
            "out, since an exclusion does not reach inside a module",
            where=where,
            fix=rf"give a regular expression for what is inside, such as '.*\.{own}\..*'",
        )

    def overview(self) -> str:
        """The ends of the names of linear layers."""
        linear = (name for name in self.linear() if not self.is_fused(name))
        ends = dict.fromkeys(name.rpartition(".")[2] for name in linear)
        more = len(ends) - _LISTED
        return ", ".join(list(ends)[:_LISTED]) + (f" and {more} more" if more > 0 else "")

    def _is_adaptable(self, module: Any) -> bool:
        return _is_linear(module) or (self.embeddings and isinstance(module, torch.nn.Embedding))

    def _nearest(self, entry: Names) -> str:
        """Names like one that matches nothing."""
        adaptable = [name for name, one in self.modules.items() if self._is_adaptable(one)]
        there = f"there are {self.overview()}"
        if not isinstance(entry, str):
            parts = entry[0].count(".") + 1
            ends = dict.fromkeys(".".join(name.split(".")[-parts:]) for name in adaptable)
            close = difflib.get_close_matches(entry[0], ends, n=2, cutoff=0.5)
            return f"did you mean {' or '.join(close)}? {there}" if close else there
        if self.named((entry,)):
            return f"a text is a regular expression for whole names: give a list, [{entry}]"
        if inside := matching(entry, adaptable):
            return f"it must match whole names, such as {inside[0]}: begin it with '.*'"
        return f"{there}; their whole names are such as {adaptable[0]}" if adaptable else there


def _adaptable_parts(model: Any) -> dict[str, Any]:
    """All modules that text passes through, by name."""
    frozen = frozen_pattern(model)
    return {
        name: module
        for name, module in model.named_modules()
        if name and not is_frozen(name, frozen)
    }


def _is_linear(module: Any) -> bool:
    """Whether a module is a linear layer that gives one tensor."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, torch.nn.Linear | Conv1D) and not _is_router(module)


def _is_router(module: Any) -> bool:
    """Whether a module is written as a linear layer and gives two tensors (Llama 4, Phi-MoE)."""
    return isinstance(module, torch.nn.Linear) and type(module).__name__.endswith("Router")


def _entries(names: Names) -> tuple[Names, ...]:
    """What is named, one by one: each end of a name, or the regular expression."""
    if isinstance(names, str):
        return (names,)
    return tuple((name,) for name in names)


def _is_absent(entry: Names, absent: Collection[str]) -> bool:
    return not isinstance(entry, str) and entry[0] in absent


def _covers_experts(model: Any, entry: Names, experts: Collection[str]) -> bool:
    """Whether a target names a part of stacked experts."""
    if entry == ALL_LINEAR or not isinstance(entry, str):
        return bool(experts) and (entry == ALL_LINEAR or entry[0].rpartition(".")[2] in experts)
    stacks = {name.rpartition(".")[0] for name, one in model.named_parameters() if one.dim() > 2}
    return bool(matching(entry, [f"{s}.{own}" for s in stacks for own in experts], whole=True))


def _exclusion(
    given: Names, frozen: str | None, left_out: tuple[str, ...], kept: tuple[str, ...]
) -> str | list[str] | None:
    """For peft: what is excluded by the settings, by the kind of model, and by what it computes."""
    alike = dict.fromkeys(re.sub(r"\.\d+(?=\.)", r".N", name) for name in left_out)
    pattern = "|".join(re.escape(name).replace(r"\.N", r"\.\d+") for name in alike)
    if pattern and matching(pattern, kept, whole=True):
        pattern = "|".join(map(re.escape, left_out))
    pattern = "|".join(filter(None, (frozen, pattern)))
    if pattern:
        return excluding(pattern, given)
    return (given if isinstance(given, str) else list(given)) or None
