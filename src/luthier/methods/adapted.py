"""What was made, on disk: an adapter or a transformers model, with its tokenizer."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor
from torch.nn import Parameter

from luthier.config import ModelConfig
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.files import read_json, replace_folder, unwritable
from luthier.models.load import LoadedModel, load_model, open_model
from luthier.models.quiet import quiet_transformers


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
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with quiet_transformers():
            _write(loaded, partial, state)
            loaded.tokenizer.save_pretrained(partial)
        replace_folder(partial, folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise unwritable(folder, error, needed=_saved_bytes(loaded)) from error


def _saved_bytes(loaded: LoadedModel) -> int:
    """The weights that are saved: an adapter's, or all."""
    parameters = loaded.model.parameters()
    adapter = is_adapter(loaded)
    return sum(p.nbytes for p in parameters if p.requires_grad or not adapter)


def is_adapter(loaded: LoadedModel) -> bool:
    """Whether the model is a base model with an adapter of peft's or of our own."""
    from luthier.methods.bottleneck import has_adapters

    return hasattr(loaded.model, "peft_config") or has_adapters(loaded.model)


def load_adapted(folder: Path, base: ModelConfig, console: Console) -> LoadedModel:
    """Load what `save_adapted` wrote.

    Args:
        folder: an adapter, or a whole transformers model.
        base: the model that an adapter belongs to, and how it may be loaded.
        console: shows progress.

    Raises:
        DataError: the folder is incomplete or does not fit the base model.
    """
    if not (folder / "adapter_config.json").is_file():
        whole = base.model_copy(update={"id": str(folder), "revision": None})
        return load_model(open_model(whole, console))
    loaded = load_model(open_model(base, console))
    return dataclasses.replace(loaded, model=_attach(loaded, folder))


def _write(loaded: LoadedModel, folder: Path, state: Mapping[str, Tensor] | None) -> None:
    from luthier.methods.bottleneck import has_adapters, save_adapters

    if has_adapters(loaded.model):
        save_adapters(loaded.model, loaded.stamp.id, folder, state)
        return
    # The embeddings are the base model's own: peft must not ask the Hub about them.
    options: dict[str, Any] = {"save_embedding_layers": False} if is_adapter(loaded) else {}
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


def _attach(loaded: LoadedModel, folder: Path) -> Any:
    import peft

    from luthier.methods.bottleneck import load_adapters

    if not (folder / "adapter_model.safetensors").is_file():
        raise DataError("the adapter has no safetensors weights", where=str(folder))
    settings = read_json(folder / "adapter_config.json")
    if not isinstance(settings, dict):
        raise DataError("adapter_config.json is not a JSON object", where=str(folder))
    # Each kind of file names itself: peft's by its peft_type, ours by its adapter_type.
    attach = load_adapters if "adapter_type" in settings else peft.PeftModel.from_pretrained
    try:
        with quiet_transformers():
            model = attach(loaded.model, folder)
    except (ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise DataError(
            f"the adapter does not fit {loaded.stamp.id}: {error}", where=str(folder)
        ) from error
    return model.eval()
