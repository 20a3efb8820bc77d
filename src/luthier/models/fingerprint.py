"""A fingerprint of a model's computation, taken from the model in memory."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import Tensor

from luthier.models.load import LoadedModel, tokenizer_fingerprint

# Provenance settings do not affect the computation.
_NOT_THE_MODEL = {
    "_name_or_path",
    "transformers_version",
    "base_model_name_or_path",
    "inference_mode",
    "revision",
}


def model_fingerprint(loaded: LoadedModel) -> str:
    """The SHA-256 of the model's tensors, settings and tokenizer, in hex.

    It is taken from memory, not from files: adapters, soft prompts and quantised weights are
    included, and names, paths and dates are not. Reading the weights takes about a second per
    gigabyte.
    """
    digest = hashlib.sha256(json.dumps(_settings(loaded), sort_keys=True, default=str).encode())
    for name, value in sorted(loaded.model.state_dict().items()):
        if isinstance(value, Tensor):
            digest.update(f"\x1e{name}\x1f{value.dtype}\x1f{tuple(value.shape)}\x1f".encode())
            digest.update(_bytes(value))
    return digest.hexdigest()


def _settings(loaded: LoadedModel) -> dict[str, Any]:
    """Settings outside the tensors: sizes, scales, generation constraints, and tokenizer rules."""
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
    """The tensor's memory in a form that a hash accepts."""
    flat = value.detach().to("cpu").contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy()
