"""The target modules of a method: found, checked, and passed to peft by their full names."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from luthier.core.errors import UsageError
from luthier.core.targets import Names, Selection
from luthier.methods.expert_stacks import Stack, converted_names, lost_names, stacks_in
from luthier.methods.gradient_reach import Reach
from luthier.methods.search import Search, entries
from luthier.methods.untrained import notes_on_targets
from luthier.models.kinds import frozen_pattern, is_frozen


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters that a method adapts directly; by default none.

    Attributes:
        converts: whether peft maps the former names of experts' matrices to stacks, so that no
            other module with these names can be adapted as a module.
        stacks: whether the method adapts stacks.
        weights: whether it adapts weights of linear layers as parameters.
    """

    converts: bool = False
    stacks: bool = False
    weights: bool = False


@dataclass(frozen=True, slots=True)
class Targets:
    """The targets of a method, by full names, in the model's order.

    Attributes:
        modules: adapted as modules.
        weights: modules whose weights are adapted as parameters, because peft would mistake their
            names for those of experts.
        stacks: adapted as parameters.
        not_adapted: unintended modules with the same suffixes, which peft must skip.
        notes: sentences about modules that are left unchanged.
    """

    modules: tuple[str, ...]
    weights: tuple[str, ...] = ()
    stacks: tuple[Stack, ...] = ()
    not_adapted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All modules with an adapter, including those that contain stacks."""
        return (*self.modules, *self.weights, *(stack.holder for stack in self.stacks))

    @property
    def parameters(self) -> list[str]:
        """Peft's ``target_parameters``."""
        return [f"{name}.weight" for name in self.weights] + [stack.name for stack in self.stacks]


def find_targets(
    model: Any,
    selection: Selection,
    where: str,
    reach: Reach,
    *,
    embeddings: bool = False,
    absent: Collection[str] = (),
    parameters: Parameters = Parameters(),
) -> Targets:
    """The selected modules and stacks of a model.

    In a vision-language model only modules of the language model are targets. Modules without
    influence on the output are left out, since an adapter there would not learn.

    Args:
        model: a transformers model without an adapter.
        selection: the selected modules.
        where: the method's settings, as ``methods.lora``.
        reach: the reach of the model.
        embeddings: whether the method adapts embeddings too.
        absent: targets that the model may lack.
        parameters: the parameters it adapts besides modules.

    Raises:
        UsageError: a target or an exclusion matches nothing, a target cannot be adapted, or no
            module is left.
    """
    modules = _adaptable_parts(model)
    stacks = stacks_in(model, modules)
    search = Search(model, modules, stacks if parameters.converts else (), embeddings, reach)
    for entry in entries(selection.exclude):
        search.require_excluded(entry, f"{where}.exclude_modules")
    search.require_layers(selection.layers, f"{where}.layers_to_transform")
    if selection.is_all_linear:
        found = [name for name in search.linear() if search.can_learn(name)]
    else:
        for entry in entries(selection.targets):
            if not _is_absent(entry, absent):
                search.require_named(entry, f"{where}.targets")
        found = [name for name in search.named(selection.targets) if reach.has_module(name)]
    chosen = tuple(
        stack
        for stack in search.stacks
        if stack.takes(selection, f"{where}.targets") and reach.has_parameter(stack.name)
    )
    holders = {stack.holder for stack in chosen}
    names = tuple(n for n in found if n not in holders and not selection.excludes(n))
    lost = lost_names(model, names) if parameters.converts else frozenset()
    if lost and not selection.is_all_linear:
        raise UsageError(
            f"{where.rpartition('.')[2]} cannot adapt {min(lost)}: peft renames its weights while "
            "reading a file, and would not find them",
            where=f"{where}.targets",
            fix="name other modules, or choose another method, such as adalora",
        )
    names = tuple(name for name in names if name not in lost)
    clashing = _clashing(model, names) if parameters.converts else ()
    if not selection.is_all_linear:
        for name in names:
            search.require_adaptable(name, f"{where}.targets")
        _require_parameters(chosen, clashing, parameters, names, where)
    weights = clashing if parameters.weights else ()
    adapted = chosen if parameters.stacks else ()
    plain = tuple(name for name in names if name not in set(clashing))
    if not (plain or weights or adapted):
        raise UsageError(
            f"{type(model).__name__} has no module that {where}.targets names"
            + (" and that is not excluded" if selection.exclude or selection.layers else ""),
            where=f"{where}.targets",
            fix=f"name modules with {where}.targets=[…]; adaptable modules: {search.overview()}",
        )
    targets = Targets(plain, weights, adapted, search.alike(plain))
    notes = notes_on_targets(search, selection, stacks, set(targets.names), adapted, lost)
    return replace(targets, notes=notes)


def _clashing(model: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    """The modules whose names peft mistakes for those of experts."""
    taken = converted_names(model)
    return tuple(name for name in names if name.rpartition(".")[2] in taken)


def _require_parameters(
    stacks: tuple[Stack, ...],
    clashing: tuple[str, ...],
    parameters: Parameters,
    names: tuple[str, ...],
    where: str,
) -> None:
    """Check that named modules can be adapted as parameters, where necessary.

    Raises:
        UsageError: the method adapts no parameters.
    """
    others = dict.fromkeys(name.rpartition(".")[2] for name in names if name not in set(clashing))
    fix = f"name other modules, {where}.targets=[{','.join(others)}]" if others else "choose lora"
    method = where.rpartition(".")[2]
    if stacks and not parameters.stacks:
        raise UsageError(
            f"{method} cannot adapt experts stacked in one tensor, as in {stacks[0].name}",
            where=f"{where}.targets",
            fix=fix,
        )
    if clashing and not parameters.weights:
        raise UsageError(
            f"{method} cannot adapt {clashing[0]}: peft mistakes its name for that of experts "
            "stacked in one tensor",
            where=f"{where}.targets",
            fix=fix,
        )


def _adaptable_parts(model: Any) -> dict[str, Any]:
    """All modules that text passes through, by name."""
    frozen = frozen_pattern(model)
    return {
        name: module
        for name, module in model.named_modules()
        if name and not is_frozen(name, frozen)
    }


def _is_absent(entry: Names, absent: Collection[str]) -> bool:
    return not isinstance(entry, str) and entry[0] in absent
