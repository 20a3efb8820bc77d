"""The records of results, as ``--json`` prints them and a run directory keeps them."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module

from pydantic import BaseModel

from luthier import records as package
from luthier.data.inspect import DataReport
from luthier.data.mixture.account import MixtureAccount
from luthier.records.base import Record

from .fields import about, field_list, parts_of


def records() -> str:
    """A heading for every record, and under it its fields."""
    found = dict.fromkeys([*_records(), DataReport, MixtureAccount])
    found |= dict.fromkeys(parts_of(found))
    texts = []
    for model in found:
        name = model.__name__
        texts += [f"### `{name}` {{ #{name} }}", about(model)]
        texts.append(field_list(model, "", None, f"{name}."))
    return "\n\n".join(texts)


def _records() -> list[type[BaseModel]]:
    modules = [
        import_module(f"{package.__name__}.{module.name}")
        for module in pkgutil.iter_modules(package.__path__)
    ]
    return [
        model
        for module in modules
        for _, model in inspect.getmembers(module, inspect.isclass)
        if issubclass(model, Record) and model.__module__ == module.__name__ and model is not Record
    ]
