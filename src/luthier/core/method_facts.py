"""The tuning methods by name, and the facts about each that others decide by.

The planner, which loads neither torch nor the configuration, reads them as training, merging and
help do; so they stand in the lowest room.
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
"""Weights of the base itself; or added: updates of its weights, layers between its own, vectors
before the input, keys and values in each layer."""
Sizes = Mapping[str, str]
"""From a size of the planner's to the setting of the method that gives it."""

_TARGETS: Sizes = {"targets": "targets", "exclude_modules": "exclude_modules"}
_RANKED: Sizes = {"rank": "rank", **_TARGETS}
_SOFT: Sizes = {"virtual_tokens": "virtual_tokens"}


@dataclass(frozen=True, slots=True)
class MethodFacts:
    """What holds for a method whatever its settings.

    Attributes:
        title: its name as the subject of a sentence.
        trains: what is trained.
        sizes: the sizes that a plan may give it.
        on_modules: whether its settings say which modules it adapts.
        needs_parameters: whether only a user can say what it trains.
        prunes: whether it begins with a rank above its final one.
        quantised_form_of: the method that it is beside a quantised base; None: it is no such form.
        shardable: whether its weights may be cut into shards (FSDP).
        mergeable: whether weights of the base can hold what an adapter of it adds.
        traceable: whether it can be prepared and trained with tensors that hold no data.
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
        """Whether it trains weights of the base, which then cannot be quantised."""
        return self.trains == "base"

    @property
    def recomputable(self) -> bool:
        """Whether layers may be computed again in the backward pass (activation checkpointing)."""
        return self.trains != "keys and values"

    @property
    def packable(self) -> bool:
        """Whether examples may share a row: not where something is put before each row."""
        return not self.is_soft_prompt

    @property
    def is_soft_prompt(self) -> bool:
        """Whether it trains something before the input, which is read from the start."""
        return self.trains in ("vectors", "keys and values")


def _update(title: str, sizes: Sizes = _RANKED) -> MethodFacts:
    """Of a method that adds updates of the weights of chosen modules."""
    return MethodFacts(title, "updates", sizes, on_modules=True, mergeable=True)


FACTS: Mapping[str, MethodFacts] = {
    "full": MethodFacts("Full fine-tuning", "base"),
    "bitfit": MethodFacts("BitFit", "base"),
    # Peft saves the norms as an adapter. It copies each, which tensors without data do not survive.
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
    # Tensors without data cannot be quantised.
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
"""The facts about each method, by its name."""


def plain_form(name: str) -> str:
    """The method that a method is without a quantised base; most are the same."""
    facts = FACTS.get(name)
    return (facts and facts.quantised_form_of) or name


def quantised_form(name: str) -> str:
    """The method that a method is beside a quantised base; most are the same."""
    forms = (form for form, facts in FACTS.items() if facts.quantised_form_of == name)
    return next(forms, name)
