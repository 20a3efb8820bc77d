"""From the configuration's own words to the planner's."""

from __future__ import annotations

from luthier.config.methods import MethodsConfig
from luthier.core.method_facts import MethodName
from luthier.planning.architecture import Architecture
from luthier.planning.method_cost import Tuning
from luthier.planning.methods import tuning_with


def tuning_of(name: MethodName, methods: MethodsConfig, model: Architecture) -> Tuning:
    """What the planner knows of a configured method.

    Args:
        name: of the method.
        methods: the settings of all methods.
        model: which it tunes.

    Raises:
        UsageError: the model has no such parameters as the method is told to train.
    """
    return tuning_with(name, dict(methods.of(name)), model)
