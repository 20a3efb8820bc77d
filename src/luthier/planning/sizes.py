"""The sizes of what a method trains or adds, as far as a user gives them.

A method's facts say which of them it takes, and what its setting is called; so a plan, its line of
settings for `tune` and its trace cannot mean different things.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from luthier.core.errors import UsageError
from luthier.core.method_facts import FACTS
from luthier.core.targets import Names

_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Size:
    """The size of what a method trains or adds; None, or nothing: as the method has it by default.

    Attributes:
        rank: of LoRA and its variants.
        virtual_tokens: of soft prompts.
        bottleneck: the width inside adapters.
        targets: the modules to adapt.
        exclude_modules: modules that are left as they are although they are targets.
        last_layers: how many layers are trained, for last-layers.
        parameters: regular expressions of the names of those that are trained, for selective.
    """

    rank: int | None = None
    virtual_tokens: int | None = None
    bottleneck: int | None = None
    targets: Names | None = None
    exclude_modules: Names = ()
    last_layers: int | None = None
    parameters: tuple[str, ...] = ()

    @property
    def given(self) -> dict[str, Any]:
        """What was given, by name."""
        return {name: value for name, value in asdict(self).items() if value not in (None, (), "")}

    def of(self, method: str) -> dict[str, Any]:
        """What was given and the method takes, by name."""
        return {name: value for name, value in self.given.items() if name in _taken(method)}

    def settings(self, method: str) -> dict[str, Any]:
        """The same by the names of the method's settings."""
        taken = _taken(method)
        return {taken[name]: value for name, value in self.of(method).items()}


def size_settings(method: str, size: Size) -> dict[str, Any]:
    """The settings of `tune` for a method's sizes, by dotted key."""
    return {f"methods.{method}.{name}": value for name, value in size.settings(method).items()}


def size_arguments(method: str, size: Size) -> tuple[str, ...]:
    """The same as arguments of ``luthier tune``; values are written as JSON, which is YAML."""
    settings = size_settings(method, size).items()
    return tuple(f"{key}={json.dumps(value)}" for key, value in settings)


def require_taken(method: str, size: Size) -> None:
    """Refuse a size that the method does not take: it would be ignored.

    Raises:
        UsageError: there is one.
    """
    left = [name for name in size.given if name not in _taken(method)]
    if left and method in FACTS:
        names = " and ".join(_option(name) for name in left)
        takes = ", ".join(_option(name) for name in _taken(method))
        raise UsageError(
            f"{method} has no use for {names}",
            fix=f"leave it out; {method} takes {takes}" if takes else "leave it out",
        )


def _taken(method: str) -> Mapping[str, str]:
    return FACTS[method].sizes if method in FACTS else _NONE


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
