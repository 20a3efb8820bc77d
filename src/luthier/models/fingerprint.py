"""A name for what a model computes, from the model itself."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import Tensor

from luthier.models.load import LoadedModel, tokenizer_fingerprint

# Where a model came from and what wrote it down say nothing of what it computes.
_NOT_THE_MODEL = {
    "_name_or_path",
    "transformers_version",
    "base_model_name_or_path",
    "inference_mode",
    "revision",
}


def model_fingerprint(loaded: LoadedModel) -> str:
    """The SHA-256 of the model's tensors, settings and tokenizer, in hex.

    It is taken from memory, not from files: adapters, soft prompts and quantised weights count as
    they are, and no name, path or date can make two models look the same. Reading the weights
    takes about a second for a gigabyte.
    """
    digest = hashlib.sha256(json.dumps(_settings(loaded), sort_keys=True, default=str).encode())
    for name, value in sorted(loaded.model.state_dict().items()):
        if isinstance(value, Tensor):
            digest.update(f"\x1e{name}\x1f{value.dtype}\x1f{tuple(value.shape)}\x1f".encode())
            digest.update(_bytes(value))
    return digest.hexdigest()


def _settings(loaded: LoadedModel) -> dict[str, Any]:
    """What is not in the tensors: sizes, scales, what answers must obey, and how text is cut."""
    model = loaded.model
    adapters = getattr(model, "peft_config", None) or {}
    return {
        "modules": str(model),
        "config": _plain(model.config.to_dict()),
        "adapters": {name: _plain(config.to_dict()) for name, config in adapters.items()},
        "generation": _plain(model.generation_config.to_dict()),
        "tokenizer": tokenizer_fingerprint(loaded.tokenizer),
        "device": loaded.device.type,
    }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: sorted(map(str, value)) if isinstance(value, set | frozenset) else value
        for key, value in values.items()
        if key not in _NOT_THE_MODEL
    }


def _bytes(value: Tensor) -> Any:
    """The tensor's memory, as what a hash takes."""
    flat = value.detach().to("cpu").contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy()
