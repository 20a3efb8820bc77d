"""Saving and loading tuned models: an adapter or a transformers model, with its tokenizer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from luthier.config import ModelConfig
from luthier.core.console import Console
from luthier.core.folders import new_folder
from luthier.core.untrusted import reading_foreign
from luthier.models.adapter_folder import (
    ADAPTER_CONFIG,
    AdapterFolder,
    is_adapter_folder,
    read_adapter,
)
from luthier.models.foreign_adapter import neutral, require_quick_patterns
from luthier.models.load import LoadedModel, ModelHandle, load_model, open_model
from luthier.models.quiet_transformers import quiet_transformers

_OTHER_BASE = "set model.base to its base model, or download the adapter again"
_CARD = "README.md"


def save_adapted(
    loaded: LoadedModel, folder: Path, state: Mapping[str, Tensor] | None = None
) -> None:
    """Write the model and its tokenizer to ``folder``, atomically.

    Args:
        loaded: the model and its tokenizer.
        folder: the target folder.
        state: the full tensors, if the model holds only shards.

    Raises:
        ResourceError: the folder is not writable.
    """
    with new_folder(folder, needed=_saved_bytes(loaded)) as partial, quiet_transformers():
        _write(loaded, partial, state)
        # Peft's model card is an empty form; `luthier.workflows.model_card` writes a real one.
        (partial / _CARD).unlink(missing_ok=True)
        loaded.tokenizer.save_pretrained(partial)


def _saved_bytes(loaded: LoadedModel) -> int:
    """Bytes of the saved weights: an adapter's, or all."""
    parameters = loaded.model.parameters()
    adapter = is_adapter(loaded)
    return sum(p.nbytes for p in parameters if p.requires_grad or not adapter)


def is_adapter(loaded: LoadedModel) -> bool:
    """Whether the model has an adapter, from peft or Luthier's bottleneck adapters."""
    from luthier.methods.bottleneck import has_adapters

    return hasattr(loaded.model, "peft_config") or has_adapters(loaded.model)


def load(handle: ModelHandle, place: torch.device | None = None) -> LoadedModel:
    """The model in evaluation mode, with its adapter if it has one.

    Args:
        handle: the model's location.
        place: the device for the weights; None: the computing device.

    Raises:
        DataError: see `luthier.models.load.load_model`; or the adapter does not match the model.
    """
    loaded = load_model(handle, place)
    if handle.adapter is None:
        return loaded
    model = attach(loaded, handle.adapter)
    return dataclasses.replace(loaded, model=model, adapter=handle.adapter)


def load_adapted(folder: Path, base: ModelConfig, console: Console) -> LoadedModel:
    """The model written by `save_adapted`.

    Args:
        folder: an adapter, or a full transformers model.
        base: the adapter's base model, with its loading options. If that is an adapter itself, the
            folder contains the same adapter, trained further.
        console: shows progress.

    Raises:
        DataError: the folder is incomplete or does not match the base model.
    """
    if not is_adapter_folder(folder):
        whole = {"id": str(folder), "revision": None, "base": None, "tokenizer": None}
        return load(open_model(base.model_copy(update=whole), console))
    adapter = read_adapter(folder)
    return load(open_model(base, console).with_adapter(adapter))


def _write(loaded: LoadedModel, folder: Path, state: Mapping[str, Tensor] | None) -> None:
    from luthier.methods.bottleneck import has_adapters, save_adapters

    if has_adapters(loaded.model):
        save_adapters(loaded.model, loaded.model.name_or_path, folder, state)
        return
    options: dict[str, Any] = {}
    if is_adapter(loaded):
        # The embeddings are the base model's own; peft must not query the Hub about them.
        resized = loaded.adapter is not None and loaded.adapter.carries_embeddings
        options["save_embedding_layers"] = resized
    if state is not None:
        options["state_dict"] = dict(state)
        _make_prompt_whole(loaded.model, state)
    loaded.model.save_pretrained(folder, **options)


def _make_prompt_whole(model: Any, state: Mapping[str, Tensor]) -> None:
    """Load the full weights of a soft prompt's encoder, since its output is saved."""
    for name, _ in list(model.named_parameters()):
        if name.startswith("prompt_encoder."):
            module, _, own = name.rpartition(".")
            setattr(model.get_submodule(module), own, Parameter(state[name], requires_grad=False))


def attach(loaded: LoadedModel, adapter: AdapterFolder) -> Any:
    """The model with an adapter attached.

    Args:
        loaded: a transformers model; it is modified.
        adapter: the adapter.

    Returns:
        The peft model, or the same model with bottleneck adapters.

    Raises:
        DataError: the adapter belongs to another model, or is damaged.
    """
    problem, where = f"the adapter does not fit {loaded.stamp.id}", str(adapter.path)
    names = [name for name, _ in loaded.model.named_modules()]
    require_quick_patterns(adapter.settings, names, str(adapter.path / ADAPTER_CONFIG))
    with reading_foreign(problem, where, _OTHER_BASE), quiet_transformers():
        return _attached(loaded, adapter).eval()


def _attached(loaded: LoadedModel, adapter: AdapterFolder) -> Any:
    """As `attach`, with the exceptions of the libraries."""
    import peft

    from luthier.methods.bottleneck import load_adapters

    if not adapter.is_peft:
        return load_adapters(loaded.model, adapter.path)
    own_name = loaded.model.name_or_path
    kind = peft.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(adapter.kind)]
    described = kind.from_peft_type(**kind.check_kwargs(**neutral(adapter.settings)))
    model = peft.PeftModel.from_pretrained(loaded.model, adapter.path, config=described)
    settings = model.active_peft_config
    settings.base_model_name_or_path = own_name
    # AdaLoRA's tensors are truncated while loading, so they cannot be compared afterwards.
    if not settings.is_prompt_learning and adapter.kind != "ADALORA":
        # Peft skips updates without tensors in the file, and tensors without an update in the
        # model.
        found = model.load_adapter(adapter.path, model.active_adapter)
        # Peft saves copies of resized embeddings under two names but reads only one.
        unexpected = [n for n in found.unexpected_keys if ".modules_to_save." not in n]
        if wrong := [*found.missing_keys, *unexpected]:
            raise ValueError(
                f"{len(wrong)} tensors are in only one of adapter and model, such as {wrong[0]}"
            )
    return model
