"""The methods that can be planned, by name, with usual settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from luthier.core.choices import ADAPTER_PLACES, IA3_INPUTS, IA3_OUTPUTS
from luthier.core.errors import UsageError
from luthier.core.names import did_you_mean
from luthier.planning.architecture import Architecture
from luthier.planning.method_cost import (
    Adalora,
    Adapters,
    Dora,
    Full,
    Ia3,
    LastLayers,
    Lora,
    Tuning,
    Vera,
    bitfit,
    layernorm,
    p_tuning,
    prefix_tuning,
    prompt_tuning,
)
from luthier.planning.selective import named
from luthier.planning.sizes import Size

_VIRTUAL_TOKENS, _LAST_LAYERS = 16, 2  # as the configuration has them by default

# Methods that train the base itself, so that it cannot be quantised.
TRAIN_THE_BASE = frozenset({"full", "bitfit", "layernorm", "last-layers", "selective"})


def _last_layers(model: Architecture, size: Size) -> Tuning:
    count = size.last_layers or _LAST_LAYERS
    return LastLayers(max(0, len(model.decoder.layers) - count))


def _adapted(size: Size, method: str) -> dict[str, Any]:
    """What of the sizes a method's tuning takes, in its words."""
    found = size.of(method)
    return {_WORDS.get(name, name): value for name, value in found.items()}


_WORDS = {"exclude_modules": "exclude"}
_IA3: Mapping[str, Any] = {"targets": IA3_OUTPUTS + IA3_INPUTS, "inputs": IA3_INPUTS}
METHODS: Mapping[str, Callable[[Architecture, Size], Tuning]] = {
    "full": lambda _model, _size: Full(),
    "bitfit": lambda _model, _size: bitfit(),
    "layernorm": lambda _model, _size: layernorm(),
    "last-layers": _last_layers,
    "selective": lambda model, size: named(size.parameters, model),
    "lora": lambda _, size: Lora(**_adapted(size, "lora")),
    "rslora": lambda _, size: Lora(**_adapted(size, "rslora")),
    "dora": lambda _, size: Dora(**_adapted(size, "dora")),
    "adalora": lambda _, size: Adalora(**_adapted(size, "adalora")),
    "vera": lambda _, size: Vera(**_adapted(size, "vera")),
    "ia3": lambda _, size: Ia3(**{**_IA3, **_adapted(size, "ia3")}),
    "adapters": lambda _, size: Adapters(ADAPTER_PLACES["houlsby"], **_adapted(size, "adapters")),
    "prompt-tuning": lambda _, size: prompt_tuning(size.virtual_tokens or _VIRTUAL_TOKENS),
    "prefix-tuning": lambda model, size: prefix_tuning(
        size.virtual_tokens or _VIRTUAL_TOKENS, after_encoder=model.is_encoder_decoder
    ),
    "p-tuning": lambda _, size: p_tuning(size.virtual_tokens or _VIRTUAL_TOKENS),
}


TITLES: Mapping[str, str] = {
    "full": "Full fine-tuning",
    "bitfit": "BitFit",
    "layernorm": "Tuning of the norms",
    "last-layers": "Tuning of the last layers",
    "selective": "Tuning of the named parameters",
    "lora": "LoRA",
    "rslora": "Rank-stabilised LoRA",
    "dora": "DoRA",
    "adalora": "AdaLoRA",
    "qlora": "QLoRA",
    "vera": "VeRA",
    "ia3": "IA3",
    "adapters": "Adapters",
    "prompt-tuning": "Prompt tuning",
    "prefix-tuning": "Prefix tuning",
    "p-tuning": "P-tuning",
    "any": "Any method",
}
"""Methods by name, as the subject of a sentence."""


def tuning_called(name: str, model: Architecture, size: Size) -> Tuning:
    """The method called ``name``. QLoRA is lora with a quantised precision.

    Raises:
        UsageError: there is no such method.
    """
    if name not in METHODS:
        known = (*METHODS, "qlora")
        hint = did_you_mean(name, known) or f"known: {', '.join(known)}"
        raise UsageError(f"there is no method {name!r}", fix=hint)
    return METHODS[name](model, size)
