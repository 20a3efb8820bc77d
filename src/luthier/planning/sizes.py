"""User-given sizes of a method's trained or added parameters.

The method's facts list its sizes and their settings, so that a plan, its settings for `tune` and
its trace agree.
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
    """Sizes of a method's parameters; None or empty: the method's default.

    Attributes:
        rank: of LoRA and its variants.
        virtual_tokens: number of virtual tokens of soft prompts.
        bottleneck: the bottleneck width of adapters.
        targets: the adapted modules.
        exclude_modules: targets that are not adapted.
        last_layers: number of layers trained by last-layers.
        parameters: regular expressions of the parameter names trained by selective.
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
        """The given sizes, by name."""
        return {name: value for name, value in asdict(self).items() if value not in (None, (), "")}

    def of(self, method: str) -> dict[str, Any]:
        """The given sizes that the method takes, by name."""
        return {name: value for name, value in self.given.items() if name in _taken(method)}

    def settings(self, method: str) -> dict[str, Any]:
        """The given sizes that the method takes, by the names of its settings."""
        taken = _taken(method)
        return {taken[name]: value for name, value in self.of(method).items()}


def size_settings(method: str, size: Size) -> dict[str, Any]:
    """The settings of `tune` for a method's sizes, by dotted key."""
    return {f"methods.{method}.{name}": value for name, value in size.settings(method).items()}


def size_arguments(method: str, size: Size) -> tuple[str, ...]:
    """The sizes as arguments of ``luthier tune``, with JSON values, which are valid YAML."""
    settings = size_settings(method, size).items()
    return tuple(f"{key}={json.dumps(value)}" for key, value in settings)


def require_taken(method: str, size: Size) -> None:
    """Reject a size that the method would ignore.

    Raises:
        UsageError: a size was given that the method does not take.
    """
    left = [name for name in size.given if name not in _taken(method)]
    if left and method in FACTS:
        names = " and ".join(_option(name) for name in left)
        takes = ", ".join(_option(name) for name in _taken(method))
        raise UsageError(
            f"{method} does not use {names}",
            fix=f"leave it out; {method} takes {takes}" if takes else "leave it out",
        )


def _taken(method: str) -> Mapping[str, str]:
    return FACTS[method].sizes if method in FACTS else _NONE


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
