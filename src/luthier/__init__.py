"""Luthier finds the cheapest adaptation of a language model that does your job, and proves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from luthier.api import adapt, compare, evaluate, forecast, report, tune

__version__ = "0.1.0"
__all__ = ["adapt", "compare", "evaluate", "forecast", "report", "tune"]


def __getattr__(name: str) -> Any:
    """The stages, imported when they are first used, so that importing luthier costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'luthier' has no attribute {name!r}")
    from luthier import api

    return getattr(api, name)
