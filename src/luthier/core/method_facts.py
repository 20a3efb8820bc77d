"""Tuning methods by name, with the facts that other modules branch on.

Planner, training, merging and help read them. They live in the lowest layer because the planner
loads neither torch nor the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

MethodName = Literal[
    "full",
    "bitfit",
    "layernorm",
    "last-layers",
    "selective",
    "lora",
    "rslora",
    "dora",
    "adalora",
    "qlora",
    "vera",
    "ia3",
    "adapters",
    "prompt-tuning",
    "prefix-tuning",
    "p-tuning",
]
METHOD_NAMES: tuple[MethodName, ...] = get_args(MethodName)
Trained = Literal["base", "updates", "layers", "vectors", "keys and values"]
"""The kind of trained weights: the base's own; updates of its weights; layers inserted between its
own; vectors before the input; keys and values in each layer."""
Sizes = Mapping[str, str]
"""From a size in the planner to the method's setting."""

_TARGETS: Sizes = {"targets": "targets", "exclude_modules": "exclude_modules"}
_RANKED: Sizes = {"rank": "rank", **_TARGETS}
_SOFT: Sizes = {"virtual_tokens": "virtual_tokens"}


@dataclass(frozen=True, slots=True)
class MethodFacts:
    """Facts about a method that do not depend on its settings.

    Attributes:
        title: its name in sentences.
        trains: the kind of trained weights.
        sizes: the sizes that a plan can set.
        on_modules: whether its settings select the adapted modules.
        needs_parameters: whether the user must name the trained parameters.
        prunes: whether it starts at a rank above the final one.
        quantised_form_of: the same method for an unquantised base; None: there is none.
        shardable: whether its weights can be sharded (FSDP).
        mergeable: whether its adapter can be merged into the base weights.
        traceable: whether it can be prepared and trained with fake tensors (no data).
    """

    title: str
    trains: Trained
    sizes: Sizes = field(default_factory=dict)
    on_modules: bool = False
    needs_parameters: bool = False
    prunes: bool = False
    quantised_form_of: MethodName | None = None
    shardable: bool = True
    mergeable: bool = False
    traceable: bool = True

    @property
    def trains_base(self) -> bool:
        """Whether it trains base weights, which therefore cannot be quantised."""
        return self.trains == "base"

    @property
    def recomputable(self) -> bool:
        """Whether activation checkpointing works with it."""
        return self.trains != "keys and values"

    @property
    def packable(self) -> bool:
        """Whether examples can be packed; impossible where something precedes each row."""
        return not self.is_soft_prompt

    @property
    def is_soft_prompt(self) -> bool:
        """Whether it trains a prefix of the input, read with the first token."""
        return self.trains in ("vectors", "keys and values")


def _update(title: str, sizes: Sizes = _RANKED) -> MethodFacts:
    """Facts of a method that learns updates for the weights of selected modules."""
    return MethodFacts(title, "updates", sizes, on_modules=True, mergeable=True)


FACTS: Mapping[str, MethodFacts] = {
    "full": MethodFacts("Full fine-tuning", "base"),
    "bitfit": MethodFacts("BitFit", "base"),
    # Peft copies the norms to save them as an adapter; fake tensors cannot be copied.
    "layernorm": MethodFacts("Tuning of the norms", "base", mergeable=True, traceable=False),
    "last-layers": MethodFacts("Tuning of the last layers", "base", {"last_layers": "layers"}),
    "selective": MethodFacts(
        "Tuning of the named parameters",
        "base",
        {"parameters": "parameters"},
        needs_parameters=True,
    ),
    "lora": _update("LoRA"),
    "rslora": _update("Rank-stabilised LoRA"),
    "dora": _update("DoRA"),
    "adalora": MethodFacts(
        "AdaLoRA",
        "updates",
        _RANKED,
        on_modules=True,
        prunes=True,
        shardable=False,
        mergeable=True,
    ),
    # Fake tensors cannot be quantised.
    "qlora": MethodFacts(
        "QLoRA",
        "updates",
        _RANKED,
        on_modules=True,
        quantised_form_of="lora",
        mergeable=True,
        traceable=False,
    ),
    "vera": _update("VeRA"),
    "ia3": _update("IA3", _TARGETS),
    "adapters": MethodFacts("Adapters", "layers", {"bottleneck": "bottleneck"}),
    "prompt-tuning": MethodFacts("Prompt tuning", "vectors", _SOFT),
    "prefix-tuning": MethodFacts("Prefix tuning", "keys and values", _SOFT),
    "p-tuning": MethodFacts("P-tuning", "vectors", _SOFT),
}
"""Facts by method name."""


def plain_form(name: str) -> str:
    """The same method for an unquantised base; for most methods itself."""
    facts = FACTS.get(name)
    return (facts and facts.quantised_form_of) or name


def quantised_form(name: str) -> str:
    """The same method for a quantised base; for most methods itself."""
    forms = (form for form, facts in FACTS.items() if facts.quantised_form_of == name)
    return next(forms, name)
