"""Validation of a method's target modules against the model, as in `tune`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from luthier.core.errors import UsageError
from luthier.core.targets import ALL_LINEAR, Names, is_named
from luthier.planning.architecture import Architecture
from luthier.planning.memory import pass_cost
from luthier.planning.methods import tuning_called
from luthier.planning.sizes import Size
from luthier.planning.training_setup import TrainingSetup

_LISTED = 12


def require_targets(model: Architecture, method: str, size: Size, setup: TrainingSetup) -> None:
    """Reject targets or exclusions that match nothing in the model.

    Args:
        model: the model.
        method: the tuning method.
        size: the targets and exclusions.
        setup: a training setup whose pass shows the effect of a target.

    Raises:
        UsageError: one of them matches nothing.
    """
    given = size.of(method)
    for entry in _entries(given.get("targets", ALL_LINEAR)):
        tuning = tuning_called(method, model, replace(size, targets=entry, exclude_modules=()))
        if not pass_cost(model, replace(setup, tuning=tuning)).trained_count:
            raise _missing(model, entry, "--targets")
    for entry in _entries(given.get("exclude_modules", ())):
        if not any(is_named(name, entry) for name in _modules(model)):
            raise _missing(model, entry, "--exclude-modules")


def _entries(names: Names) -> tuple[Names, ...]:
    """Each of several names separately; a regular expression unchanged."""
    if isinstance(names, str):
        return () if names == ALL_LINEAR else (names,)
    return tuple((name,) for name in names)


def _modules(model: Architecture) -> Iterator[str]:
    """The names of all modules, including containers."""
    for weight in model.weights():
        parts = weight.name.split(".")
        yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _missing(model: Architecture, entry: Names, option: str) -> UsageError:
    shown = entry if isinstance(entry, str) else entry[0]
    linear = (w.name.rpartition(".")[2] for w in model.weights() if w.kind == "matrix")
    known = list(dict.fromkeys(linear))[:_LISTED]
    return UsageError(
        f"no adaptable module of this model matches {shown!r}",
        where=option,
        fix=f"adaptable modules: {', '.join(known)}",
    )
