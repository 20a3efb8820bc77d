"""Training the parameters of the base model whose names are picked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from luthier.core.errors import UsageError
from luthier.core.names import listed
from luthier.planning.architecture import Architecture
from luthier.planning.method_cost import Frozen
from luthier.planning.patterns import matching
from luthier.planning.tape import Weight

_WHERE = "methods.selective.parameters"
_NUMBER = re.compile(r"\.\d+(?=\.|$)")
_LISTED = 12


@dataclass(frozen=True, slots=True)
class Named(Frozen):
    """Parameters picked by their names.

    Attributes:
        names: of those that are trained.
        trains_input: whether a table that the input is read from is among them.
    """

    names: frozenset[str]
    trains_input: bool

    @property
    def input_grad(self) -> bool:
        """Whether a table of tokens or positions is trained."""
        return self.trains_input

    def trains(self, weight: Weight) -> bool:
        """Those that are named."""
        return weight.parameter in self.names

    def layer_key(self, name: str) -> object:
        """What is named in the layer."""
        inside = f"{name}."
        return frozenset(one.removeprefix(inside) for one in self.names if one.startswith(inside))


def named(patterns: Sequence[str], model: Architecture) -> Named:
    """The tuning of the parameters that ``patterns`` pick; errors as `pick_names`."""
    names = pick_names(patterns, (weight.parameter for weight in model.weights()))
    # Tables of another width, as T5's of relative positions, are read inside attention.
    widths = {model.hidden, model.embedding_width}
    tables = (table for table in model.embeddings if table.shape[-1] in widths)
    return Named(names, trains_input=any(table.parameter in names for table in tables))


def pick_names(patterns: Sequence[str], names: Iterable[str]) -> frozenset[str]:
    """The names in which one of the regular expressions is found.

    Raises:
        UsageError: there is no expression, or one is found in no name, or takes too long.
    """
    known = tuple(names)
    found = {pattern: matching(pattern, known, _WHERE) for pattern in patterns}
    if not found:
        raise UsageError(
            "selective trains the parameters that you name, and none is named",
            where=_WHERE,
            fix="give regular expressions, such as [mlp, norm]; there are "
            f"{alike_once(known, _LISTED)}",
        )
    for pattern, picked in found.items():
        if not picked:
            raise UsageError(
                f"no parameter has {pattern!r} in its name",
                where=_WHERE,
                fix=f"there are {alike_once(known, _LISTED)}",
            )
    return frozenset(name for picked in found.values() for name in picked)


def without_numbers(name: str) -> str:
    """The name of a parameter with a star for the number of its layer."""
    return _NUMBER.sub(".*", name)


def alike_once(names: Sequence[str], most: int) -> str:
    """Some of the names, alike ones once; those of layers with a star for the number."""
    return listed(dict.fromkeys(map(without_numbers, names)), most)
