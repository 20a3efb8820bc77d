"""Training of base parameters selected by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from luthier.core.parameter_names import pick_names
from luthier.planning.architecture import Architecture
from luthier.planning.method_cost import Frozen
from luthier.planning.tape import Weight


@dataclass(frozen=True, slots=True)
class Named(Frozen):
    """Training of parameters selected by name.

    Attributes:
        names: the names of the trained parameters.
        trains_input: whether an input embedding is among them.
    """

    names: frozenset[str]
    trains_input: bool

    @property
    def input_grad(self) -> bool:
        """Whether a token or position embedding is trained."""
        return self.trains_input

    def trains(self, weight: Weight) -> bool:
        """Whether the parameter is among the selected ones."""
        return weight.parameter in self.names

    def layer_key(self, name: str) -> object:
        """The selected names within the layer."""
        inside = f"{name}."
        return frozenset(one.removeprefix(inside) for one in self.names if one.startswith(inside))


def named(patterns: Sequence[str], model: Architecture) -> Named:
    """The tuning of the parameters that ``patterns`` select; errors as in `pick_names`."""
    names = pick_names(patterns, (weight.parameter for weight in model.weights()))
    # Tables of another width, such as T5's relative positions, are read inside attention.
    widths = {model.hidden, model.embedding_width}
    tables = (table for table in model.embeddings if table.shape[-1] in widths)
    return Named(names, trains_input=any(table.parameter in names for table in tables))
