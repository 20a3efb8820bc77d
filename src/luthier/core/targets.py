"""Which modules a method adapts, told by their names as peft reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from luthier.core.patterns import matching

ALL_LINEAR = "all-linear"
Names = tuple[str, ...] | str
_LAYER = re.compile(r".*?\.[^.]*\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Selection:
    """Modules by name, without those that are excluded.

    Attributes:
        targets: ends of names; a regular expression that matches whole names; or ``all-linear``.
        exclude: ends of names, or a regular expression that matches whole names.
        layers: numbers of the layers that are adapted; none given: all of them, and what is in no
            layer.
        saved: modules that are trained whole; what is in them is not adapted.
    """

    targets: Names = ALL_LINEAR
    exclude: Names = ()
    layers: tuple[int, ...] = ()
    saved: tuple[str, ...] = ()

    @property
    def is_all_linear(self) -> bool:
        """Whether it stands for all linear layers."""
        return self.targets == ALL_LINEAR

    @property
    def tells_layers_apart(self) -> bool:
        """Whether layers of one kind may be treated otherwise, by their numbers."""
        return bool(self.layers) or any(
            isinstance(names, str)
            or any(character.isdigit() for name in names for character in name)
            for names in (() if self.is_all_linear else self.targets, self.exclude)
        )

    def takes(self, name: str) -> bool:
        """Whether a module of this name is adapted."""
        chosen = self.is_all_linear or is_named(name, self.targets)
        return chosen and not self.excludes(name)

    def excludes(self, name: str) -> bool:
        """Whether a module of this name is left as it is."""
        in_layers = not self.layers or layer_of(name) in self.layers
        is_saved = any(f".{one}." in f".{name}." for one in self.saved)
        return not in_layers or is_saved or is_named(name, self.exclude)


def layer_of(name: str) -> int | None:
    """The number of the layer that a module is in: the first in its name, as peft reads it."""
    found = _LAYER.match(name)
    return int(found[1]) if found else None


def is_named(name: str, names: Names) -> bool:
    """Whether ends of names, or a regular expression for whole ones, cover a module's name."""
    if isinstance(names, str):
        return bool(matching(names, [name], whole=True))
    return ends_with(name, names)


def ends_with(name: str, targets: tuple[str, ...]) -> bool:
    """Whether a module's name ends with one of the targets, as peft compares them."""
    return f".{name}".endswith(tuple(f".{target}" for target in targets))
