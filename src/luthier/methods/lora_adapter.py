"""Continuing the training of an existing LoRA adapter, from any tool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from luthier.config import LoraConfig, MethodConfig, RunConfig
from luthier.core.errors import UsageError
from luthier.core.method_facts import MethodName
from luthier.methods.base import merge_first
from luthier.models.adapter_folder import AdapterFolder

# The settings of a LoRA method, and peft's names of them.
_SETTINGS = {"rank": "r", "alpha": "lora_alpha", "dropout": "lora_dropout"}
# Kinds of LoRA, by the peft switches that distinguish them.
_KINDS: Mapping[tuple[bool, bool], tuple[MethodName, ...]] = {
    (False, False): ("lora", "qlora"),
    (True, False): ("rslora",),
    (False, True): ("dora",),
}


def with_adapter_settings(config: RunConfig, adapter: AdapterFolder) -> RunConfig:
    """The configuration with an adapter's sizes in the methods that can continue it.

    Settings that differ from their defaults are kept, for `require_same` to compare.
    """
    if not _is_lora(adapter):
        return config
    changed: dict[MethodName, MethodConfig] = {}
    for name in _methods_for(adapter):
        settings = config.methods.of(name)
        found = {
            key: value
            for key, value in _sizes(adapter).items()
            if getattr(settings, key) == type(settings).model_fields[key].default
        }
        changed[name] = settings.model_copy(update=found)
    return config.model_copy(update={"methods": config.methods.having(changed)})


def require_same(name: MethodName, settings: LoraConfig, adapter: AdapterFolder) -> None:
    """Check that a LoRA method can continue an adapter unchanged.

    Args:
        name: the method.
        settings: the method's settings.
        adapter: the adapter.

    Raises:
        UsageError: the adapter is of another kind, combines several, or has other sizes.
    """
    where = str(adapter.path)
    if not _is_lora(adapter):
        raise UsageError(
            f"{name} cannot continue an adapter of the kind {adapter.kind}",
            where=where,
            fix=merge_first(adapter),
        )
    kinds = _methods_for(adapter)
    if name not in kinds:
        fix = f"use the method {kinds[0]}, or " if kinds else ""
        raise UsageError(
            f"the adapter was not trained with {name}"
            + (f" but with {kinds[0]}" if kinds else ", but with a combination of LoRA variants"),
            where=where,
            fix=fix + merge_first(adapter),
        )
    if adapter.settings.get("bias", "none") != "none":
        raise UsageError(
            "the adapter has trained biases of the base model beside its own weights",
            where=where,
            fix=merge_first(adapter),
        )
    for key, value in _sizes(adapter).items():
        given = getattr(settings, key)
        same = set(given) == set(value) if key == "targets" else given == value
        if not same:
            shown = ", ".join(value) if key == "targets" else value
            raise UsageError(
                f"methods.{name}.{key} is {given}, but the adapter was made with {shown}, and its "
                "shape cannot change",
                where=where,
                fix=f"leave methods.{name}.{key} out, or {merge_first(adapter)}",
            )


def train_further(model: Any) -> Any:
    """A trainable peft model, from one whose adapter was loaded for inference."""
    name = model.active_adapter
    model.requires_grad_(False)
    model.set_adapter(name)
    model.peft_config[name].inference_mode = False
    return model


def described(adapter: AdapterFolder) -> str:
    """The sizes of an adapter, for display."""
    sizes = {key: value for key, value in _sizes(adapter).items() if key != "targets"}
    return ", ".join(f"{key} {value:g}" for key, value in sizes.items())


def _is_lora(adapter: AdapterFolder) -> bool:
    return adapter.is_peft and adapter.kind == "LORA"


def _methods_for(adapter: AdapterFolder) -> tuple[MethodName, ...]:
    """The methods that can train such an adapter."""
    switches = (
        bool(adapter.settings.get("use_rslora")),
        bool(adapter.settings.get("use_dora")),
    )
    return _KINDS.get(switches, ())


def _sizes(adapter: AdapterFolder) -> dict[str, Any]:
    """The sizes that a LoRA method and an adapter must agree on, by the method's names.

    Targets given as a regular expression are interpreted by peft and not compared.
    """
    found = {key: adapter.settings.get(name) for key, name in _SETTINGS.items()}
    targets = adapter.settings.get("target_modules")
    if isinstance(targets, list):
        found["targets"] = tuple(sorted(map(str, targets)))
    return {key: value for key, value in found.items() if value is not None}
