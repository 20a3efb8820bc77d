"""What a method leaves as it is although it could have been meant, in sentences."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from luthier.core.parameter_names import alike_once
from luthier.core.targets import Selection
from luthier.methods.expert_stacks import Stack
from luthier.methods.search import Search, is_linear, looks_linear

LISTED = 4
"""Names of modules in one message."""


def notes_on_targets(
    search: Search,
    selection: Selection,
    stacks: Sequence[Stack],
    adapted: Collection[str],
    adapted_stacks: Collection[Stack],
    lost: Collection[str] = (),
) -> tuple[str, ...]:
    """On modules that are meant and get no adapter, and on stacks beside those that get one.

    Args:
        search: among the model's modules.
        selection: which are meant.
        stacks: all of the model's.
        adapted: names of modules with an adapter.
        adapted_stacks: those of the stacks that have one.
        lost: modules that get none, because it would not be found again in a file.
    """
    output = search.model.get_output_embeddings()
    meant = search.modules if selection.is_all_linear else search.named(selection.targets)
    left = [
        name
        for name in meant
        if looks_linear(module := search.modules[name])
        and module is not output
        and name not in adapted
        and not selection.excludes(name)
    ]
    others = [name for name in left if not is_linear(search.modules[name])]
    mute = [n for n in left if n not in others and not search.can_learn(n)]
    clashing = [n for n in left if n not in others and n not in mute and n not in lost]
    found = (
        (others, "compute something else than a linear layer, and get no adapter"),
        (mute, "get no adapter, which would learn nothing: the output does not depend on them"),
        (
            [name for name in left if name in lost],
            "get no adapter: peft renames their weights while it reads a file, and loses them",
        ),
        (clashing, "get no adapter: peft takes their names for those of experts in one stack"),
    )
    notes = [f"{alike_once(names, LISTED)} {reason}" for names, reason in found if names]
    return (*notes, *_note_on_stacks(search.model, selection, stacks, adapted, adapted_stacks))


def notes_on_mute(names: Sequence[str]) -> tuple[str, ...]:
    """On modules or parameters that are meant and cannot learn."""
    if not names:
        return ()
    return (
        f"{alike_once(names, LISTED)} stay as they are: the model's output does not depend on them",
    )


def _note_on_stacks(
    model: Any,
    selection: Selection,
    stacks: Sequence[Stack],
    adapted: Collection[str],
    adapted_stacks: Collection[Stack],
) -> tuple[str, ...]:
    """On stacks beside modules with an adapter."""
    left = [
        stack
        for stack in stacks
        if stack not in adapted_stacks
        and not stack.is_excluded(selection)
        and (selection.is_all_linear or _is_beside(stack, adapted))
    ]
    if not left:
        return ()
    sizes = {name: one.numel() for name, one in model.named_parameters(remove_duplicate=False)}
    share = sum(sizes[stack.name] for stack in left) / sum(
        one.numel() for one in model.parameters()
    )
    return (
        f"{alike_once([stack.name for stack in left], LISTED)} ({share:.0%} of the model's "
        "parameters) get no adapter: they are no linear layers, but stacks of matrices, as those "
        "of experts",
    )


def _is_beside(stack: Stack, adapted: Collection[str]) -> bool:
    """Whether a module with an adapter is in the part of the model that holds the stack's."""
    parent = f"{stack.holder.rpartition('.')[0]}."
    return any(name.startswith(parent) for name in adapted)
