"""From the configuration's own words to the planner's."""

from __future__ import annotations

from luthier.config.methods import (
    AdaloraConfig,
    AdaptersConfig,
    BitfitConfig,
    DoraConfig,
    FullConfig,
    Ia3Config,
    LastLayersConfig,
    LayernormConfig,
    LoraConfig,
    MethodConfig,
    ModulesConfig,
    PrefixTuningConfig,
    PromptTuningConfig,
    PTuningConfig,
    SelectiveConfig,
    VeraConfig,
)
from luthier.core.choices import ADAPTER_PLACES
from luthier.planning.architecture import Architecture
from luthier.planning.method_cost import (
    Adalora,
    Adapters,
    Dora,
    Full,
    Ia3,
    Lora,
    OnLinears,
    Tuning,
    Vera,
    bitfit,
    layernorm,
    p_tuning,
    prefix_tuning,
    prompt_tuning,
)
from luthier.planning.methods import tuning_called
from luthier.planning.selective import named
from luthier.planning.sizes import Size


def tuning_of(method: MethodConfig, model: Architecture) -> Tuning:
    """What the planner knows of a configured method.

    Args:
        method: its settings.
        model: which it tunes.

    Raises:
        UsageError: the model has no such parameters as the method is told to train.
        TypeError: the method is of an unknown class.
    """
    match method:
        case FullConfig():
            return Full()
        case BitfitConfig():
            return bitfit()
        case LayernormConfig():
            return layernorm()
        case LastLayersConfig(layers=count):
            return tuning_called("last-layers", model, Size(last_layers=count))
        case SelectiveConfig(parameters=patterns):
            return named(patterns, model)
        case ModulesConfig():
            return _on_linears(method)
        case AdaptersConfig(bottleneck=width, placement=place):
            return Adapters(targets=ADAPTER_PLACES[place], bottleneck=width)
        case PromptTuningConfig(virtual_tokens=count):
            return prompt_tuning(count)
        case PrefixTuningConfig(virtual_tokens=count):
            return prefix_tuning(count, after_encoder=model.is_encoder_decoder)
        case PTuningConfig(virtual_tokens=count):
            return p_tuning(count)
    raise TypeError(f"the planner does not know {type(method).__name__}")


def _on_linears(method: ModulesConfig) -> OnLinears:
    """A method that adds something to modules."""
    where = (method.targets, method.exclude_modules)
    layers = method.layers_to_transform
    match method:
        case DoraConfig(rank=rank, dropout=dropout):
            return Dora(*where, layers=layers, rank=rank, dropout=dropout)
        case AdaloraConfig(rank=rank, dropout=dropout):
            return Adalora(*where, layers=layers, rank=rank, dropout=dropout)
        case LoraConfig(rank=rank, dropout=dropout):
            return Lora(*where, layers=layers, rank=rank, dropout=dropout)
        case VeraConfig(rank=rank):
            return Vera(*where, layers=layers, rank=rank)
        case Ia3Config(feedforward_modules=inputs):
            return Ia3(*where, layers=layers, inputs=inputs)
    raise TypeError(f"the planner does not know {type(method).__name__}")
