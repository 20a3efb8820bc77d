"""What was made, on disk: a peft adapter or a transformers model, with its tokenizer."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from luthier.config import ModelConfig
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.files import read_json, unwritable
from luthier.models.load import LoadedModel, load_model, open_model
from luthier.models.quiet import quiet_transformers


def save_adapted(loaded: LoadedModel, folder: Path) -> None:
    """Write the model and its tokenizer; ``folder`` is whole or as it was before.

    Raises:
        ResourceError: the folder cannot be written.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with quiet_transformers():
            # The embeddings are the base model's own: peft must not ask the Hub about them.
            options: dict[str, Any] = (
                {} if not is_adapter(loaded) else {"save_embedding_layers": False}
            )
            loaded.model.save_pretrained(partial, **options)
            loaded.tokenizer.save_pretrained(partial)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise unwritable(folder, error) from error


def is_adapter(loaded: LoadedModel) -> bool:
    """Whether the model is a base model with a peft adapter around it."""
    return hasattr(loaded.model, "peft_config")


def load_adapted(folder: Path, base: ModelConfig, console: Console) -> LoadedModel:
    """Load what `save_adapted` wrote.

    Args:
        folder: a peft adapter, or a whole transformers model.
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


def _attach(loaded: LoadedModel, folder: Path) -> Any:
    import peft

    if not (folder / "adapter_model.safetensors").is_file():
        raise DataError("the adapter has no safetensors weights", where=str(folder))
    read_json(folder / "adapter_config.json")
    try:
        with quiet_transformers():
            model = peft.PeftModel.from_pretrained(loaded.model, folder)
    except (ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise DataError(
            f"the adapter does not fit {loaded.stamp.id}: {error}", where=str(folder)
        ) from error
    return model.eval()
