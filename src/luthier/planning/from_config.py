"""Conversion of the configuration's methods into the planner's."""

from __future__ import annotations

from luthier.config.methods import MethodsConfig
from luthier.core.method_facts import MethodName
from luthier.planning.architecture import Architecture
from luthier.planning.method_cost import Tuning
from luthier.planning.methods import tuning_with


def tuning_of(name: MethodName, methods: MethodsConfig, model: Architecture) -> Tuning:
    """The planner's `Tuning` for a configured method.

    Args:
        name: the method.
        methods: the settings of all methods.
        model: the model to tune.

    Raises:
        UsageError: the model lacks the parameters that the method should train.
    """
    return tuning_with(name, dict(methods.of(name)), model)
