"""Selection of the modules that a method adapts, by name, with peft's rules."""

from __future__ import annotations

import re
from dataclasses import dataclass

from luthier.core.patterns import matching

ALL_LINEAR = "all-linear"
Names = tuple[str, ...] | str
_LAYER = re.compile(r".*?\.[^.]*\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Selection:
    """Selected modules, by name.

    Attributes:
        targets: suffixes of names; a regular expression for whole names; or ``all-linear``.
        exclude: suffixes of names, or a regular expression for whole names.
        layers: the adapted layers by number; empty: all layers and modules outside of layers.
        saved: modules that are trained in full; nothing inside them is adapted.
    """

    targets: Names = ALL_LINEAR
    exclude: Names = ()
    layers: tuple[int, ...] = ()
    saved: tuple[str, ...] = ()

    @property
    def is_all_linear(self) -> bool:
        """Whether all linear layers are selected."""
        return self.targets == ALL_LINEAR

    @property
    def tells_layers_apart(self) -> bool:
        """Whether the selection may differ between layers."""
        return bool(self.layers) or any(
            isinstance(names, str)
            or any(character.isdigit() for name in names for character in name)
            for names in (() if self.is_all_linear else self.targets, self.exclude)
        )

    def takes(self, name: str) -> bool:
        """Whether the module with this name is adapted."""
        chosen = self.is_all_linear or is_named(name, self.targets)
        return chosen and not self.excludes(name)

    def excludes(self, name: str) -> bool:
        """Whether the module with this name is excluded."""
        in_layers = not self.layers or layer_of(name) in self.layers
        is_saved = any(f".{one}." in f".{name}." for one in self.saved)
        return not in_layers or is_saved or is_named(name, self.exclude)


def layer_of(name: str) -> int | None:
    """The layer number of a module: the first number in its name, as in peft."""
    found = _LAYER.match(name)
    return int(found[1]) if found else None


def is_named(name: str, names: Names) -> bool:
    """Whether suffixes, or a regular expression for whole names, match a module's name."""
    if isinstance(names, str):
        return bool(matching(names, [name], whole=True))
    return ends_with(name, names)


def ends_with(name: str, targets: tuple[str, ...]) -> bool:
    """Whether a module's name ends with one of the targets, as in peft."""
    return f".{name}".endswith(tuple(f".{target}" for target in targets))
