"""A model without weights, for checking a method's targets and counting trained parameters."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import lru_cache

import torch

from luthier.config import MethodsConfig
from luthier.core.method_facts import MethodName
from luthier.methods.adapted import attach
from luthier.methods.registry import method_for
from luthier.models.load import LoadedModel, ModelHandle
from luthier.models.quiet_transformers import quiet_transformers
from luthier.records.evaluation import ModelStamp


@dataclass(frozen=True, slots=True)
class Outline:
    """The effect of a method on a model.

    Attributes:
        trained: number of trained parameters; None if the model could not be created.
        notes: sentences about modules left unchanged although the user may expect otherwise.
    """

    trained: int | None = None
    notes: tuple[str, ...] = ()


def outlined(handle: ModelHandle, name: MethodName, methods: MethodsConfig) -> Outline:
    """The effect of a method on a model, found without loading weights.

    The method prepares the model on torch's meta device, where tensors have shapes but no data.

    Args:
        handle: the model's location.
        name: the method.
        methods: its settings.

    Returns:
        An empty outline for a model that already is an adapter, or cannot be created this way.

    Raises:
        UsageError: the method cannot adapt this model with these settings, or would learn nothing.
    """
    if handle.adapter is not None:
        return Outline()
    key = f"{handle.folder.path} {handle.rows} {name} {methods.of(name).model_dump_json()}"
    return _outlined(_Question(key, handle, name, methods))


def counted_parameters(handle: ModelHandle, name: MethodName, methods: MethodsConfig) -> int | None:
    """The number of parameters that a method will train; see `outlined`."""
    return outlined(handle, name, methods).trained


@dataclass(frozen=True, slots=True)
class _Question:
    """A cache key for `outlined`."""

    key: str
    handle: ModelHandle = field(compare=False)
    name: MethodName = field(compare=False)
    methods: MethodsConfig = field(compare=False)


@lru_cache(maxsize=32)
def _outlined(question: _Question) -> Outline:
    loaded = _without_weights(question.handle)
    if loaded is None:
        return Outline()
    method = method_for(question.name, question.methods)
    with torch.random.fork_rng(devices=()):
        model = method.prepare(loaded)
    count: int = sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        # AdaLoRA's ranks do not learn, but look trained without data.
        if parameter.requires_grad and ".ranknum." not in name
    )
    return Outline(count, method.notes)


def _without_weights(handle: ModelHandle) -> LoadedModel | None:
    """The model on the meta device; None: its class cannot be created there."""
    settings = copy.deepcopy(handle.settings)
    if handle.rows is not None:
        settings.get_text_config().vocab_size = handle.rows
    try:
        with quiet_transformers(), torch.device("meta"):
            model = handle.auto_class.from_config(
                settings, trust_remote_code=handle.config.trust_remote_code
            )
    except (ValueError, RuntimeError, TypeError, AttributeError, ImportError, NotImplementedError):
        return None  # the class does not support tensors without data
    stamp = ModelStamp(
        id=handle.id,
        parameters=sum(one.numel() for one in model.parameters()),
        dtype=str(model.dtype).removeprefix("torch."),
        architecture=type(model).__name__,
    )
    return LoadedModel(model, handle.tokenizer, stamp, torch.device("meta"))


def check_adapter(handle: ModelHandle) -> None:
    """Check that a LoRA adapter matches its base, without reading the base's weights.

    Adapters of other kinds, and those initialised from the base's values, are checked when loaded.

    Raises:
        DataError: it does not match.
    """
    adapter = handle.adapter
    if adapter is None or not adapter.is_peft or adapter.kind != "LORA":
        return
    if not isinstance(adapter.settings.get("init_lora_weights", True), bool):
        return
    if (outline := _without_weights(handle)) is not None:
        attach(outline, adapter)
