"""Notes on modules that a method leaves unchanged although the user may expect otherwise."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from luthier.core.parameter_names import alike_once
from luthier.core.targets import Selection
from luthier.methods.expert_stacks import Stack
from luthier.methods.search import Search, is_linear, looks_linear

LISTED = 4
"""Maximum number of module names in one message."""


def notes_on_targets(
    search: Search,
    selection: Selection,
    stacks: Sequence[Stack],
    adapted: Collection[str],
    adapted_stacks: Collection[Stack],
    lost: Collection[str] = (),
) -> tuple[str, ...]:
    """Notes on selected modules without an adapter, and on stacks beside adapted modules.

    Args:
        search: the search over the model's modules.
        selection: the selected modules.
        stacks: all stacks of the model.
        adapted: names of adapted modules.
        adapted_stacks: the adapted stacks.
        lost: modules without an adapter because it could not be loaded from a file.
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
        (others, "do not compute a linear map, and get no adapter"),
        (mute, "get no adapter, because the output does not depend on them"),
        (
            [name for name in left if name in lost],
            "get no adapter, because peft renames their weights while reading them and loses them",
        ),
        (
            clashing,
            "get no adapter, because peft mistakes their names for those of stacked experts",
        ),
    )
    notes = [f"{alike_once(names, LISTED)} {reason}" for names, reason in found if names]
    return (*notes, *_note_on_stacks(search.model, selection, stacks, adapted, adapted_stacks))


def notes_on_mute(names: Sequence[str]) -> tuple[str, ...]:
    """Notes on selected modules or parameters that cannot learn."""
    if not names:
        return ()
    return (
        f"{alike_once(names, LISTED)} are not trained: the model's output does not depend on them",
    )


def _note_on_stacks(
    model: Any,
    selection: Selection,
    stacks: Sequence[Stack],
    adapted: Collection[str],
    adapted_stacks: Collection[Stack],
) -> tuple[str, ...]:
    """A note on stacks beside adapted modules."""
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
        "parameters) get no adapter: they are stacks of matrices, such as experts, not "
        "linear layers",
    )


def _is_beside(stack: Stack, adapted: Collection[str]) -> bool:
    """Whether an adapted module is in the same part of the model as the stack."""
    parent = f"{stack.holder.rpartition('.')[0]}."
    return any(name.startswith(parent) for name in adapted)
