"""Lookup of methods by their name in the configuration."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module

from luthier.config import MethodConfig, MethodsConfig
from luthier.core.method_facts import MethodName
from luthier.methods.base import Method


def method_for(name: MethodName, methods: MethodsConfig) -> Method:
    """The method called ``name`` with its settings."""
    return _class_of(name)(methods.of(name))


@cache
def _class_of(name: MethodName) -> Callable[[MethodConfig], Method]:
    """The method's class, from the file of that name."""
    module = import_module(f"luthier.methods.{name.replace('-', '_')}")
    found: Callable[[MethodConfig], Method] = next(
        one
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, Method) and vars(one).get("name") == name
    )
    return found
