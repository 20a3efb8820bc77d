"""Luthier finds the cheapest adaptation of a language model that does your job, and proves it."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from luthier.api import adapt, compare, evaluate, forecast, prompt, report, tune

__version__ = "0.1.0"
__all__ = ["adapt", "compare", "evaluate", "forecast", "prompt", "report", "tune"]


class _Stage:
    """A stage as an attribute of the package, imported when it is first used.

    Some stages are called as the package that does their work. Importing ``luthier.adapt`` would
    put that package in the place of the function, which would then work only once.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, module: ModuleType | None, owner: type) -> Any:
        from luthier import api

        return getattr(api, self._name)

    def __set__(self, module: ModuleType, package: ModuleType) -> None:
        """The import system binds a subpackage to its parent; the function stays."""


class _Luthier(ModuleType):
    """The package, with the stages as functions."""

    adapt = _Stage()
    compare = _Stage()
    evaluate = _Stage()
    forecast = _Stage()
    prompt = _Stage()
    report = _Stage()
    tune = _Stage()


sys.modules[__name__].__class__ = _Luthier
