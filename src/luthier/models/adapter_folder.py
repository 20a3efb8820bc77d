"""Adapter folders: their settings, read before any weights are loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.core.errors import DataError
from luthier.core.files import file_sha256
from luthier.core.user_files import is_there, read_given_json
from luthier.models.foreign_adapter import check_adapter
from luthier.models.weights import require_content, stored_shapes

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "shared.weight")
_PICKLED_WEIGHTS = "adapter_model.bin"
_TASKS = (None, "CAUSAL_LM", "SEQ_2_SEQ_LM")


@dataclass(frozen=True, slots=True)
class AdapterFolder:
    """A folder with an adapter: peft's, or Luthier's bottleneck adapters.

    Attributes:
        path: the folder.
        settings: the content of ``adapter_config.json``.
    """

    path: Path
    settings: Mapping[str, Any]

    @property
    def is_peft(self) -> bool:
        """Whether peft made it; Luthier's own files have an ``adapter_type``."""
        return "adapter_type" not in self.settings

    @property
    def kind(self) -> str:
        """The kind of adapter, as named in its file."""
        return str(self.settings.get("peft_type" if self.is_peft else "adapter_type"))

    @property
    def base(self) -> str | None:
        """The name or folder of its base model; None if not given."""
        found = self.settings.get("base_model_name_or_path" if self.is_peft else "base_model")
        return found if isinstance(found, str) and found else None

    @property
    def revision(self) -> str | None:
        """The revision of the base model, if given."""
        found = self.settings.get("revision")
        return found if isinstance(found, str) and found else None

    @property
    def _weights(self) -> tuple[Path, ...]:
        return (self.path / ADAPTER_WEIGHTS,)

    @property
    def carries_embeddings(self) -> bool:
        """Whether its weights contain the base model's embeddings, as peft saves resized ones."""
        if self.settings.get("modules_to_save"):
            return False
        return any(name.endswith(_EMBEDDINGS) for name in stored_shapes(self._weights))

    def content(self) -> str:
        """A fingerprint of settings and weights."""
        digest = hashlib.sha256()
        for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
            digest.update(file_sha256(self.path / name).encode())
        return f"sha256:{digest.hexdigest()[:16]}"


def is_adapter_folder(path: Path) -> bool:
    """Whether a folder contains an adapter."""
    return is_there(path / ADAPTER_CONFIG)


def adapter_files(names: Collection[str]) -> tuple[str, ...]:
    """The files of an adapter among ``names``."""
    return tuple(name for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS) if name in names)


def read_adapter(path: Path) -> AdapterFolder:
    """The settings of an adapter folder.

    Raises:
        DataError: its settings are unreadable or rejected by `check_adapter`; or its weights are
            missing, pickled, or a Git LFS pointer.
    """
    where = str(path)
    settings = read_given_json(path / ADAPTER_CONFIG)
    if not isinstance(settings, dict):
        raise DataError("adapter_config.json is not a JSON object", where=where)
    if not (path / ADAPTER_WEIGHTS).is_file():
        raise _without_weights(path)
    require_content(path / ADAPTER_WEIGHTS)
    shapes = stored_shapes([path / ADAPTER_WEIGHTS])  # empty for a damaged file
    if not isinstance(settings.get("peft_type", settings.get("adapter_type")), str):
        raise DataError(
            "adapter_config.json names no kind of adapter",
            where=f'{where}, field "peft_type"',
            fix="save the adapter again with peft's save_pretrained",
        )
    if (task := settings.get("task_type")) not in _TASKS:
        raise DataError(
            f"the adapter is for a task other than text generation: {task}",
            where=f'{where}, field "task_type"',
            fix="choose an adapter of a causal or an encoder-decoder language model",
        )
    check_adapter(settings, shapes, where)
    return AdapterFolder(path, settings)


def _without_weights(path: Path) -> DataError:
    if (path / _PICKLED_WEIGHTS).is_file():
        return DataError(
            f"the adapter has no safetensors weights, only {_PICKLED_WEIGHTS}: pickle files "
            "can run code when they are opened",
            where=str(path),
            fix="if you trust it, load it with peft and save it again: save_pretrained writes "
            f"{ADAPTER_WEIGHTS}",
        )
    return DataError(
        f"the adapter has no safetensors weights: {ADAPTER_WEIGHTS} is missing", where=str(path)
    )
