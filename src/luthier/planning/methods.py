"""The methods that can be planned, by name, with default settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from luthier.core.choices import ADAPTER_PLACES, IA3_INPUTS, IA3_OUTPUTS
from luthier.core.errors import UsageError
from luthier.core.method_facts import METHOD_NAMES, plain_form
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

_VIRTUAL_TOKENS, _LAST_LAYERS = 16, 2  # the defaults of the configuration

Settings = Mapping[str, Any]
"""A method's settings by the configuration's names; missing ones have their defaults."""


def _given(settings: Settings, *names: str) -> dict[str, Any]:
    return {name: settings[name] for name in names if name in settings}


def _on_modules(settings: Settings, *names: str) -> dict[str, Any]:
    """Arguments of a method on modules: its selection and its own settings."""
    words = {"targets": "targets", "exclude_modules": "exclude", "layers_to_transform": "layers"}
    where = {word: settings[name] for name, word in words.items() if name in settings}
    return where | _given(settings, *names)


def _ia3(settings: Settings) -> Tuning:
    given = _on_modules(settings, "feedforward_modules")
    inputs = given.pop("feedforward_modules", IA3_INPUTS)
    return Ia3(**{"targets": IA3_OUTPUTS + IA3_INPUTS, **given, "inputs": inputs})


def _last_layers(model: Architecture, settings: Settings) -> Tuning:
    count = settings.get("layers", _LAST_LAYERS)
    return LastLayers(max(0, len(model.decoder.layers) - count))


def _adapters(settings: Settings) -> Tuning:
    places = ADAPTER_PLACES[settings.get("placement", "houlsby")]
    return Adapters(places, **_given(settings, "bottleneck"))


def _virtual_tokens(settings: Settings) -> int:
    count: int = settings.get("virtual_tokens", _VIRTUAL_TOKENS)
    return count


METHODS: Mapping[str, Callable[[Architecture, Settings], Tuning]] = {
    "full": lambda _model, _settings: Full(),
    "bitfit": lambda _model, _settings: bitfit(),
    "layernorm": lambda _model, _settings: layernorm(),
    "last-layers": _last_layers,
    "selective": lambda model, settings: named(settings.get("parameters", ()), model),
    "lora": lambda _, settings: Lora(**_on_modules(settings, "rank", "dropout")),
    "rslora": lambda _, settings: Lora(**_on_modules(settings, "rank", "dropout")),
    "dora": lambda _, settings: Dora(**_on_modules(settings, "rank", "dropout")),
    "adalora": lambda _, settings: Adalora(**_on_modules(settings, "rank", "dropout")),
    "vera": lambda _, settings: Vera(**_on_modules(settings, "rank")),
    "ia3": lambda _, settings: _ia3(settings),
    "adapters": lambda _, settings: _adapters(settings),
    "prompt-tuning": lambda _, settings: prompt_tuning(_virtual_tokens(settings)),
    "prefix-tuning": lambda model, settings: prefix_tuning(
        _virtual_tokens(settings), after_encoder=model.is_encoder_decoder
    ),
    "p-tuning": lambda _, settings: p_tuning(_virtual_tokens(settings)),
}
"""The `Tuning` of each method, from the model and the settings. A quantised base changes only the
precision."""


def tuning_with(name: str, settings: Settings, model: Architecture) -> Tuning:
    """The method called ``name`` with the given settings.

    Raises:
        UsageError: the method is unknown.
    """
    plain = plain_form(name)
    if plain not in METHODS:
        hint = did_you_mean(name, METHOD_NAMES) or f"known: {', '.join(METHOD_NAMES)}"
        raise UsageError(f"unknown method {name!r}", fix=hint)
    return METHODS[plain](model, settings)


def tuning_called(name: str, model: Architecture, size: Size) -> Tuning:
    """The method called ``name`` with the given sizes; errors as in `tuning_with`."""
    return tuning_with(name, size.settings(name), model)
