"""The methods that can be planned, by name, with usual settings."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from luthier.config.methods import IA3_INPUTS, IA3_OUTPUTS
from luthier.core.errors import UsageError
from luthier.plan.architecture import Architecture
from luthier.plan.targets import ALL_LINEAR, Names
from luthier.plan.tunings import (
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

# What bottleneck adapters follow: the output of attention and of the MLP, by family.
_SUBLAYER_ENDS = (
    "o_proj",
    "down_proj",
    "dense",
    "fc2",
    "c_proj",
    "out_proj",
    "dense_4h_to_h",
    "o",
    "wo",
)


@dataclass(frozen=True, slots=True)
class Size:
    """The size of what a method adds.

    Attributes:
        rank: of LoRA and its variants.
        virtual_tokens: of soft prompts.
        bottleneck: of adapters.
        targets: the linear layers that LoRA adapts.
        last_layers: how many layers are trained, for last-layers.
    """

    rank: int = 8
    virtual_tokens: int = 16
    bottleneck: int = 64
    targets: Names = ALL_LINEAR
    last_layers: int = 2


# Where bottleneck adapters stand: after both sub-layers (Houlsby et al.), or after the MLP's last
# product alone (Pfeiffer et al.).
ADAPTER_PLACES: Mapping[str, tuple[str, ...]] = {
    "houlsby": _SUBLAYER_ENDS,
    "pfeiffer": IA3_INPUTS,
}


# Methods that train the base itself, so that it cannot be quantised.
TRAIN_THE_BASE = frozenset({"full", "bitfit", "layernorm", "last-layers", "selective"})


def _last_layers(model: Architecture, size: Size) -> Tuning:
    return LastLayers(max(0, len(model.decoder.layers) - size.last_layers))


METHODS: Mapping[str, Callable[[Architecture, Size], Tuning]] = {
    "full": lambda _model, _size: Full(),
    "bitfit": lambda _model, _size: bitfit(),
    "layernorm": lambda _model, _size: layernorm(),
    "last-layers": _last_layers,
    "lora": lambda _, size: Lora(targets=size.targets, rank=size.rank),
    "rslora": lambda _, size: Lora(targets=size.targets, rank=size.rank),
    "dora": lambda _, size: Dora(targets=size.targets, rank=size.rank),
    "adalora": lambda _, size: Adalora(targets=size.targets, rank=size.rank),
    "vera": lambda _, size: Vera(targets=size.targets, rank=size.rank),
    "ia3": lambda _, size: Ia3(targets=IA3_OUTPUTS + IA3_INPUTS, inputs=IA3_INPUTS),
    "adapters": lambda _, size: Adapters(targets=_SUBLAYER_ENDS, bottleneck=size.bottleneck),
    "prompt-tuning": lambda _, size: prompt_tuning(size.virtual_tokens),
    "prefix-tuning": lambda model, size: prefix_tuning(
        size.virtual_tokens, after_encoder=model.is_encoder_decoder
    ),
    "p-tuning": lambda _, size: p_tuning(size.virtual_tokens),
}


TITLES: Mapping[str, str] = {
    "full": "Full fine-tuning",
    "bitfit": "BitFit",
    "layernorm": "Tuning of the norms",
    "last-layers": "Tuning of the last layers",
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
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
        raise UsageError(f"there is no method {name!r}", fix=hint)
    return METHODS[name](model, size)
