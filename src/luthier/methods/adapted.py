"""What was made, on disk: an adapter or a transformers model, with its tokenizer."""

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

_OTHER_BASE = "name the model that it was trained on with model.base=…, or get the adapter again"
_CARD = "README.md"


def save_adapted(
    loaded: LoadedModel, folder: Path, state: Mapping[str, Tensor] | None = None
) -> None:
    """Write the model and its tokenizer; ``folder`` is whole or as it was before.

    Args:
        loaded: the model and its tokenizer.
        folder: where to.
        state: the model's tensors, where it holds parts of them alone.

    Raises:
        ResourceError: the folder cannot be written.
    """
    with new_folder(folder, needed=_saved_bytes(loaded)) as partial, quiet_transformers():
        _write(loaded, partial, state)
        # Peft's card is a blank form; who knows the data writes ours.
        (partial / _CARD).unlink(missing_ok=True)
        loaded.tokenizer.save_pretrained(partial)


def _saved_bytes(loaded: LoadedModel) -> int:
    """The weights that are saved: an adapter's, or all."""
    parameters = loaded.model.parameters()
    adapter = is_adapter(loaded)
    return sum(p.nbytes for p in parameters if p.requires_grad or not adapter)


def is_adapter(loaded: LoadedModel) -> bool:
    """Whether the model is a base model with an adapter of peft's or of our own."""
    from luthier.methods.bottleneck import has_adapters

    return hasattr(loaded.model, "peft_config") or has_adapters(loaded.model)


def load(handle: ModelHandle, place: torch.device | None = None) -> LoadedModel:
    """Load a model, with its adapter where it has one, in evaluation mode.

    Args:
        handle: which model.
        place: where the weights are put; None: on the device that computes.

    Raises:
        DataError: see `luthier.models.load.load_model`; or the adapter does not fit the model.
    """
    loaded = load_model(handle, place)
    if handle.adapter is None:
        return loaded
    model = attach(loaded, handle.adapter)
    return dataclasses.replace(loaded, model=model, adapter=handle.adapter)


def load_adapted(folder: Path, base: ModelConfig, console: Console) -> LoadedModel:
    """Load what `save_adapted` wrote.

    Args:
        folder: an adapter, or a whole transformers model.
        base: the model that an adapter belongs to, and how it may be loaded. Where it is an adapter
            itself, the folder holds that one, trained further.
        console: shows progress.

    Raises:
        DataError: the folder is incomplete or does not fit the base model.
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
        # The embeddings are the base model's own: peft must not ask the Hub about them.
        resized = loaded.adapter is not None and loaded.adapter.carries_embeddings
        options["save_embedding_layers"] = resized
    if state is not None:
        options["state_dict"] = dict(state)
        _make_prompt_whole(loaded.model, state)
    loaded.model.save_pretrained(folder, **options)


def _make_prompt_whole(model: Any, state: Mapping[str, Tensor]) -> None:
    """Give a soft prompt's encoder its whole weights: what is saved is what it computes."""
    for name, _ in list(model.named_parameters()):
        if name.startswith("prompt_encoder."):
            module, _, own = name.rpartition(".")
            setattr(model.get_submodule(module), own, Parameter(state[name], requires_grad=False))


def attach(loaded: LoadedModel, adapter: AdapterFolder) -> Any:
    """A model with an adapter beside its weights.

    Args:
        loaded: a transformers model; it is changed.
        adapter: the adapter.

    Returns:
        What peft makes of the two, or the same model with bottleneck adapters.

    Raises:
        DataError: the adapter belongs to another model, or is damaged.
    """
    problem, where = f"the adapter does not fit {loaded.stamp.id}", str(adapter.path)
    names = [name for name, _ in loaded.model.named_modules()]
    require_quick_patterns(adapter.settings, names, str(adapter.path / ADAPTER_CONFIG))
    with reading_foreign(problem, where, _OTHER_BASE), quiet_transformers():
        return _attached(loaded, adapter).eval()


def _attached(loaded: LoadedModel, adapter: AdapterFolder) -> Any:
    """As `attach`, with the errors of those who do it."""
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
    # AdaLoRA's tensors are cut when they are read, and cannot be read again.
    if not settings.is_prompt_learning and adapter.kind != "ADALORA":
        # Peft leaves updates out that a file has no tensors for, and tensors that no update takes.
        found = model.load_adapter(adapter.path, model.active_adapter)
        # Peft saves the copies of resized embeddings under two names, and reads one.
        unexpected = [n for n in found.unexpected_keys if ".modules_to_save." not in n]
        if wrong := [*found.missing_keys, *unexpected]:
            raise ValueError(
                f"{len(wrong)} tensors of one are not in the other, such as {wrong[0]}"
            )
    return model
