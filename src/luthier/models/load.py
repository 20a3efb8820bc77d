"""A model and its tokenizer in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from luthier.config import ModelConfig
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.records import ModelStamp
from luthier.core.seeds import fingerprint
from luthier.models.adapter_folder import AdapterFolder
from luthier.models.allocator import keep_freed_memory
from luthier.models.device import default_device, resolve_dtype
from luthier.models.kinds import is_wrapper, model_class, require_text
from luthier.models.quantised import (
    detach_from_file,
    keep_trainable,
    parameter_count,
    quantisation_options,
    require_quantisation,
)
from luthier.models.quiet import quiet_transformers
from luthier.models.resolve import ModelFolder, resolve_model
from luthier.models.vocabulary import check_vocabulary, resize_embeddings
from luthier.models.weights import count_numbers

_UNLOADABLE = (OSError, ValueError, KeyError, ImportError, StrictDataclassError)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready for use.

    Attributes:
        model: a transformers model, or a peft model around one.
        tokenizer: turns text into ids.
        stamp: which model it is.
        device: where it computes.
        adapter: the adapter that it was loaded with, where the model that was named is one.
    """

    model: Any
    tokenizer: Any
    stamp: ModelStamp
    device: torch.device
    adapter: AdapterFolder | None = None

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether the model reads with an encoder and answers with a decoder (T5)."""
        return bool(self.model.config.is_encoder_decoder)

    @property
    def context_window(self) -> int:
        """Tokens the model can attend to, prompt and answer together, beside a soft prompt."""
        adapter = getattr(self.model, "active_peft_config", None)
        taken = adapter.num_virtual_tokens if adapter and adapter.is_prompt_learning else 0
        return context_window(self.model.config) - taken


def context_window(config: Any) -> int:
    """The context window that a transformers config states, in tokens.

    Models with relative positions (T5) state none; they were pre-trained on 512 tokens, and work
    on longer input, so their window is not a hard limit.
    """
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    for name in ("max_position_embeddings", "n_positions", "n_ctx"):
        if isinstance(value := getattr(text, name, None), int) and value > 0:
            return value
    return 2**20 if getattr(config, "relative_attention_num_buckets", None) else 2048


@dataclass(frozen=True, slots=True)
class ModelHandle:
    """A model that has been found and described, but whose weights are not loaded.

    Attributes:
        folder: where its files are.
        config: how it is to be loaded.
        settings: its transformers config.
        tokenizer: turns text into ids.
        auto_class: the auto class of transformers that loads it.
        rows: rows that the embedding is given when it is loaded; None: those that it has.
    """

    folder: ModelFolder
    config: ModelConfig
    settings: Any
    tokenizer: Any
    auto_class: Any
    rows: int | None = None

    @property
    def id(self) -> str:
        """What it is called."""
        return self.folder.id

    @property
    def revision(self) -> str:
        """Which version of it."""
        return self.folder.revision

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether the model reads with an encoder and answers with a decoder (T5)."""
        return bool(self.settings.is_encoder_decoder)

    @property
    def context_window(self) -> int:
        """Tokens the model can attend to, prompt and answer together."""
        return context_window(self.settings)

    @property
    def adapter(self) -> AdapterFolder | None:
        """The adapter beside the weights, where the model is one."""
        return self.folder.adapter

    def beside(self, adapter: AdapterFolder) -> ModelHandle:
        """The same base model with another adapter."""
        return replace(self, folder=replace(self.folder, adapter=adapter))

    @property
    def description(self) -> dict[str, Any]:
        """The values of the configuration, with the vocabulary that the model will have."""
        found: dict[str, Any] = self.settings.to_dict()
        if self.rows is None:
            return found
        if isinstance(text := found.get("text_config"), dict):
            return {**found, "text_config": {**text, "vocab_size": self.rows}}
        return {**found, "vocab_size": self.rows}

    @property
    def stored_numbers(self) -> int:
        """Numbers in all tensors of its weight files, read from their headers."""
        return count_numbers(self.folder.path, allow_pickle=self.config.allow_pickle)

    @property
    def has_chat_template(self) -> bool:
        """Whether the tokenizer knows how a conversation is written for this model."""
        return bool(getattr(self.tokenizer, "chat_template", None))


def open_model(config: ModelConfig, console: Console) -> ModelHandle:
    """Find a model and load its tokenizer and settings; quick, and enough for most checks.

    Raises:
        DataError: the model is missing, incomplete, or of an unknown architecture.
    """
    from transformers import AutoConfig, AutoTokenizer

    folder = resolve_model(config, console)
    options = {"trust_remote_code": config.trust_remote_code}
    try:
        with quiet_transformers():
            settings = AutoConfig.from_pretrained(folder.path, **options)
            tokenizer = AutoTokenizer.from_pretrained(_tokenizer_folder(folder), **options)
    except _UNLOADABLE as error:
        raise _unloadable("description", folder, error) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    where = str(folder.path)
    auto_class = model_class(settings, where)
    rows = check_vocabulary(tokenizer, settings, config, console, where)
    return ModelHandle(folder, config, settings, tokenizer, auto_class, rows)


def _tokenizer_folder(folder: ModelFolder) -> Path:
    """Where the tokenizer is: an adapter may bring its own, with more tokens than the base's."""
    if folder.adapter and (folder.adapter.path / "tokenizer_config.json").is_file():
        return folder.adapter.path
    return folder.path


@lru_cache(maxsize=4)
def tokenizer_fingerprint(tokenizer: Any) -> str:
    """A name for what a tokenizer does: its pieces, its rules and its chat template."""
    rules = {}
    if backend := getattr(tokenizer, "backend_tokenizer", None):
        rules = json.loads(backend.to_str())
        rules.pop("padding")  # these two are set by each call
        rules.pop("truncation")
    vocabulary = {} if rules else tokenizer.get_vocab()
    special = {name: str(piece) for name, piece in tokenizer.special_tokens_map.items()}
    template = str(getattr(tokenizer, "chat_template", None))
    return fingerprint(json.dumps([rules, vocabulary, special, template], sort_keys=True))


def load_model(handle: ModelHandle, place: torch.device | None = None) -> LoadedModel:
    """Load the weights, in evaluation mode: those of the base model, where there is an adapter.

    `luthier.methods.adapted.load` puts the adapter beside them.

    Args:
        handle: which model.
        place: where the weights are put; None: on the device that computes. That one decides their
            type in any case.

    Raises:
        DataError: the weights are missing or damaged, or need code or pickle files that the
            configuration does not allow.
    """
    device = default_device()
    dtype, quantisation = resolve_dtype(handle.config.dtype, device), handle.config.quantisation
    place = place or device
    if place.type == "cpu":
        keep_freed_memory()
    if quantisation:
        require_quantisation()
    try:
        with quiet_transformers():
            model, found = handle.auto_class.from_pretrained(
                handle.folder.path,
                dtype=dtype,
                use_safetensors=None if handle.config.allow_pickle else True,
                trust_remote_code=handle.config.trust_remote_code,
                device_map={"": place} if quantisation else None,
                output_loading_info=True,
                variant=handle.folder.variant or None,
                **quantisation_options(quantisation, dtype),
            )
    except (*_UNLOADABLE, RuntimeError, SafetensorError) as error:
        raise _unloadable("weights", handle.folder, error) from error
    _require_all(found, handle.folder)
    if handle.rows is not None:
        resize_embeddings(model, handle.rows)
    model.name_or_path = handle.folder.loads_as
    if quantisation:
        detach_from_file(model)
        keep_trainable(model)
    model = (model if quantisation else model.to(place)).eval()
    if is_wrapper(handle.settings):
        require_text(model, str(handle.folder.path))
    stamp = ModelStamp(
        id=handle.folder.id,
        revision=handle.folder.revision,
        parameters=parameter_count(model),
        dtype=quantisation or str(dtype).removeprefix("torch."),
        architecture=type(model).__name__,
    )
    return LoadedModel(model, handle.tokenizer, stamp, place)


def _require_all(found: Mapping[str, Any], folder: ModelFolder) -> None:
    """Refuse weights of which a part is missing: transformers would fill it with random numbers.

    Args:
        found: what transformers says of the loading; tied weights count as there.
        folder: where they are.

    Raises:
        DataError: tensors are missing.
    """
    missing, unexpected = (sorted(found[name]) for name in ("missing_keys", "unexpected_keys"))
    if not missing:
        return
    others = f"; instead there are {_some(unexpected)}" if unexpected else ""
    raise DataError(
        f"{len(missing)} tensors of {folder.id} are not in its files: {_some(missing)}{others}",
        where=str(folder.path),
        fix="get the files again, or export the model again with save_pretrained",
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def _unloadable(what: str, folder: ModelFolder, error: Exception) -> DataError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if "trust_remote_code" in str(error):
        return DataError(
            f"the {what} of {folder.id} needs Python code from its own repository",
            where=str(folder.path),
            fix="read that code, then set model.trust_remote_code=true if you trust it",
        )
    return DataError(
        f"the {what} of {folder.id} cannot be loaded: {reason}",
        where=str(folder.path),
        fix="check that the files are complete and the architecture is one that transformers knows",
    )
