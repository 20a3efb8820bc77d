"""From a name in the configuration to a method."""

from __future__ import annotations

from collections.abc import Callable

from luthier.config import MethodsConfig
from luthier.config.methods import MethodName
from luthier.methods.base import Method
from luthier.methods.full import FullMethod
from luthier.methods.lora import LoraMethod
from luthier.methods.prompt_tuning import PromptTuningMethod

_METHODS: dict[MethodName, Callable[[MethodsConfig], Method]] = {
    "full": lambda methods: FullMethod(methods.full),
    "lora": lambda methods: LoraMethod(methods.lora),
    "prompt-tuning": lambda methods: PromptTuningMethod(methods.prompt_tuning),
}


def method_for(name: MethodName, methods: MethodsConfig) -> Method:
    """The method called ``name`` with its settings."""
    return _METHODS[name](methods)
