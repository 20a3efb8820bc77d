"""Luthier finds the cheapest adaptation of a language model that does your job, and proves it."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from luthier.api import adapt, evaluate, forecast, inspect, merge, prompt, report, tune
    from luthier.benchmarks import benchmark, submit
    from luthier.comparing import compare, forgotten, judge, plan_examples
    from luthier.continuing import extend, resume

__version__ = "0.1.0"
__all__ = [
    "adapt",
    "benchmark",
    "compare",
    "evaluate",
    "extend",
    "forecast",
    "forgotten",
    "inspect",
    "judge",
    "merge",
    "plan_examples",
    "prompt",
    "report",
    "resume",
    "submit",
    "tune",
]


class _Stage:
    """A stage as an attribute of the package, imported when it is first used.

    Some stages are called as the package that does their work. Importing ``luthier.adapt`` would
    put that package in the place of the function, which would then work only once.
    """

    def __init__(self, module: str = "api") -> None:
        self._module = module

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, module: ModuleType | None, owner: type) -> Any:
        return getattr(import_module(f"luthier.{self._module}"), self._name)

    def __set__(self, module: ModuleType, package: ModuleType) -> None:
        """The import system binds a subpackage to its parent; the function stays."""


class _Luthier(ModuleType):
    """The package, with the stages as functions."""

    def __dir__(self) -> list[str]:
        """Every name, the stages included, without importing one of them."""
        return sorted({*super().__dir__(), *__all__})

    adapt = _Stage()
    benchmark = _Stage("benchmarks")
    compare = _Stage("comparing")
    evaluate = _Stage()
    extend = _Stage("continuing")
    forecast = _Stage()
    forgotten = _Stage("comparing")
    inspect = _Stage()
    judge = _Stage("comparing")
    merge = _Stage()
    plan_examples = _Stage("comparing")
    prompt = _Stage()
    report = _Stage()
    resume = _Stage("continuing")
    submit = _Stage("benchmarks")
    tune = _Stage()


sys.modules[__name__].__class__ = _Luthier
