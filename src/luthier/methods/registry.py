"""From a name in the configuration to a method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from luthier.config import MethodsConfig
from luthier.config.methods import MethodName
from luthier.methods.adalora import AdaloraMethod
from luthier.methods.adapters import AdaptersMethod
from luthier.methods.base import Method
from luthier.methods.bitfit import BitfitMethod
from luthier.methods.dora import DoraMethod
from luthier.methods.full import FullMethod
from luthier.methods.ia3 import Ia3Method
from luthier.methods.last_layers import LastLayersMethod
from luthier.methods.layernorm import LayernormMethod
from luthier.methods.lora import LoraMethod
from luthier.methods.p_tuning import PTuningMethod
from luthier.methods.prefix_tuning import PrefixTuningMethod
from luthier.methods.prompt_tuning import PromptTuningMethod
from luthier.methods.qlora import QloraMethod
from luthier.methods.rslora import RsloraMethod
from luthier.methods.selective import SelectiveMethod
from luthier.methods.vera import VeraMethod

_METHODS: dict[MethodName, Callable[[Any], Method]] = {
    "full": FullMethod,
    "bitfit": BitfitMethod,
    "layernorm": LayernormMethod,
    "last-layers": LastLayersMethod,
    "selective": SelectiveMethod,
    "lora": LoraMethod,
    "rslora": RsloraMethod,
    "dora": DoraMethod,
    "adalora": AdaloraMethod,
    "qlora": QloraMethod,
    "vera": VeraMethod,
    "ia3": Ia3Method,
    "adapters": AdaptersMethod,
    "prompt-tuning": PromptTuningMethod,
    "prefix-tuning": PrefixTuningMethod,
    "p-tuning": PTuningMethod,
}


def method_for(name: MethodName, methods: MethodsConfig) -> Method:
    """The method called ``name`` with its settings."""
    return _METHODS[name](methods.of(name))
