"""Loading a model and its tokenizer."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from luthier.config import ModelConfig
from luthier.core.console import Console
from luthier.core.errors import DataError, LuthierError
from luthier.core.seeds import fingerprint
from luthier.core.untrusted import reading_foreign
from luthier.core.user_files import read_given_json
from luthier.models.adapter_folder import AdapterFolder
from luthier.models.allocator import keep_freed_memory
from luthier.models.device import default_device, resolve_dtype
from luthier.models.foreign_config import tokenizer_config, transformers_config
from luthier.models.generation_file import tell_demands
from luthier.models.kinds import is_wrapper, model_class, require_text
from luthier.models.quantised import (
    detach_from_file,
    is_decoded,
    keep_trainable,
    loading_options,
    parameter_count,
    require_quantisation,
    stored_as,
)
from luthier.models.quiet_transformers import quiet_transformers
from luthier.models.resolve import ModelFolder, resolve_model, resolve_tokenizer
from luthier.models.settings_file import CONFIG, check_sizes, read_config
from luthier.models.tensors import check_tensors, renaming, require_all
from luthier.models.vocabulary import check_vocabulary, resize_embeddings, rows_needed
from luthier.models.weights import count_numbers, stored_shapes
from luthier.prompts.chat_files import require_names
from luthier.prompts.tokenizer_rules import panicked, require_workable
from luthier.records.evaluation import ModelStamp

# A folder with a tokenizer has one of these.
_TOKENIZERS = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "source.spm",
    "vocab.json",
    "vocab.txt",
    "vocab.bpe",
    "merges.txt",
    "tekken.json",
    "tokenizer_config.json",
)
_SPECIAL = "special_tokens_map.json"
# Files that contain an object, if the tokenizer has them.
_TOKENIZER_CONFIG = "tokenizer_config.json"
_TOKENIZER_JSON = (
    "tokenizer.json",
    "tokenizer_config.json",
    _SPECIAL,
    "added_tokens.json",
    "vocab.json",
)
_COMPLETE = "check that the files are complete and that transformers supports the architecture"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready for use.

    Attributes:
        model: a transformers model, or a peft model around one.
        tokenizer: encodes and decodes text.
        stamp: identifies the model.
        device: the computing device.
        adapter: the adapter, if the named model is one.
    """

    model: Any
    tokenizer: Any
    stamp: ModelStamp
    device: torch.device
    adapter: AdapterFolder | None = None

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether the model has an encoder for input and a decoder for answers (T5)."""
        return bool(self.model.config.is_encoder_decoder)

    @property
    def context_window(self) -> int:
        """Tokens that fit into the context window, prompt and answer, excluding a soft prompt."""
        adapter = getattr(self.model, "active_peft_config", None)
        taken = adapter.num_virtual_tokens if adapter and adapter.is_prompt_learning else 0
        return context_window(self.model.config) - taken


def context_window(config: Any) -> int:
    """The context window in a transformers configuration, in tokens.

    Models with relative positions (T5) have none. They were pre-trained on 512 tokens but work on
    longer input, so their window is not a hard limit.
    """
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    for name in ("max_position_embeddings", "n_positions", "n_ctx"):
        if isinstance(value := getattr(text, name, None), int) and value > 0:
            return value
    return 2**20 if getattr(config, "relative_attention_num_buckets", None) else 2048


@dataclass(frozen=True, slots=True)
class ModelHandle:
    """A located model with its metadata, without loaded weights.

    Attributes:
        folder: its files.
        config: the loading options.
        settings: its transformers configuration.
        tokenizer: encodes and decodes text.
        auto_class: the transformers auto class that loads it.
        rows: the number of embedding rows after loading; None: unchanged.
    """

    folder: ModelFolder
    config: ModelConfig
    settings: Any
    tokenizer: Any
    auto_class: Any
    rows: int | None = None

    @property
    def id(self) -> str:
        """Its name."""
        return self.folder.id

    @property
    def revision(self) -> str:
        """Its revision."""
        return self.folder.revision

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether the model has an encoder for input and a decoder for answers (T5)."""
        return bool(self.settings.is_encoder_decoder)

    @property
    def context_window(self) -> int:
        """Tokens that fit into the context window, prompt and answer."""
        return context_window(self.settings)

    @property
    def adapter(self) -> AdapterFolder | None:
        """The adapter, if the model is one."""
        return self.folder.adapter

    def with_adapter(self, adapter: AdapterFolder) -> ModelHandle:
        """The same base model with another adapter."""
        return replace(self, folder=replace(self.folder, adapter=adapter))

    @property
    def description(self) -> dict[str, Any]:
        """The values of the configuration, with the vocabulary size after loading."""
        found: dict[str, Any] = self.settings.to_dict()
        if self.rows is None:
            return found
        if isinstance(text := found.get("text_config"), dict):
            return {**found, "text_config": {**text, "vocab_size": self.rows}}
        return {**found, "vocab_size": self.rows}

    @property
    def stored_numbers(self) -> int:
        """The number of elements in all weight files, from their headers."""
        return count_numbers(self.folder.weights)

    @property
    def has_chat_template(self) -> bool:
        """Whether the tokenizer has a chat template."""
        return bool(getattr(self.tokenizer, "chat_template", None))


def open_model(config: ModelConfig, console: Console) -> ModelHandle:
    """The located model with tokenizer and settings; its files are checked, weights not read.

    Raises:
        UsageError: its weights are stored in another quantisation than requested.
        DataError: the model is missing, incomplete, or of an unknown architecture; or its tokenizer
            is missing or has tokens without an embedding row.
    """
    folder = resolve_model(config, console)
    where, code = str(folder.path), config.trust_remote_code
    values = read_config(folder.path)
    check_sizes(values, stored_shapes(folder.weights), str(folder.path / CONFIG))
    with _loading("description", folder, CONFIG):
        settings = transformers_config(folder.path, console, trust_remote_code=code)
    tell_demands(folder.path, console)
    tokenizer = _load_tokenizer(folder, settings, config, console)
    with _loading("description", folder):
        auto_class = model_class(settings, where)
        config = stored_as(config, settings, where)
        rows = check_vocabulary(tokenizer, settings, config, console, where)
        check_tensors(settings, auto_class, folder, console)
    return ModelHandle(folder, config, settings, tokenizer, auto_class, rows)


def _load_tokenizer(
    folder: ModelFolder, settings: Any, config: ModelConfig, console: Console
) -> Any:
    """The tokenizer; without a padding token it uses the end token.

    Raises:
        DataError: it is missing, unreadable, or refers to files elsewhere.
    """
    from transformers import AutoTokenizer

    place = _tokenizer_folder(folder, config, console)
    if not any((place / name).is_file() for name in _TOKENIZERS):
        raise DataError(
            f"{folder.id} has no tokenizer",
            where=str(place),
            fix="copy the tokenizer's files there, or name a folder or model with a tokenizer with "
            "model.tokenizer=…",
        )
    for name in _TOKENIZER_JSON:
        _require_readable(place / name)
    _require_own_vocabulary(place / _SPECIAL)
    with _loading("tokenizer", replace(folder, path=place), code=_TOKENIZER_CONFIG):
        found = AutoTokenizer.from_pretrained(
            place,
            config=settings if place == folder.path else tokenizer_config(place, console),
            trust_remote_code=config.trust_remote_code,
        )
        if found.pad_token_id is None:
            found.pad_token = found.eos_token or found.unk_token
        rows_needed(found)  # checks that its tokens can be listed
    require_workable(found, str(place))
    require_names(found, str(place / _TOKENIZER_CONFIG))
    if not (place / _TOKENIZER_CONFIG).is_file():
        console.warn(
            f"the tokenizer of {folder.id} has no tokenizer_config.json, so its class and special "
            "tokens are guessed; download that file with the model",
        )
    return found


def _tokenizer_folder(folder: ModelFolder, config: ModelConfig, console: Console) -> Path:
    """The tokenizer's folder; an adapter may include its own, with more tokens than the base's."""
    if config.tokenizer is not None:
        return resolve_tokenizer(config.tokenizer, config, console)
    if folder.adapter and (folder.adapter.path / _TOKENIZER_CONFIG).is_file():
        return folder.adapter.path
    return folder.path


def _require_readable(path: Path) -> None:
    """Reject a damaged file that transformers would ignore, or report without its name.

    Raises:
        DataError: the file exists but is not a JSON object.
    """
    if not path.is_file():
        return
    fix = "download the file again, or delete it"
    try:
        if isinstance(read_given_json(path), dict):
            return
    except DataError as error:
        raise DataError(error.problem, where=error.where, fix=fix) from None
    raise DataError("this is not a JSON object", where=str(path), fix=fix)


def _require_own_vocabulary(path: Path) -> None:
    """Reject a special tokens file with other content, which transformers would use as paths.

    Raises:
        DataError: it contains anything other than tokens.
    """
    for name in read_given_json(path) if path.is_file() else ():
        if not name.endswith(("_token", "_tokens")):
            raise DataError(
                f"{name} is not a special token",
                where=f'{path}, field "{name}"',
                fix="download the file again, or delete it",
            )


@lru_cache(maxsize=4)
def tokenizer_fingerprint(tokenizer: Any) -> str:
    """A fingerprint of a tokenizer's tokens, rules and chat template."""
    rules = {}
    if backend := getattr(tokenizer, "backend_tokenizer", None):
        rules = json.loads(backend.to_str())
        rules.pop("padding")  # set by each call
        rules.pop("truncation")
    vocabulary = {} if rules else tokenizer.get_vocab()
    special = {name: str(piece) for name, piece in tokenizer.special_tokens_map.items()}
    template = str(getattr(tokenizer, "chat_template", None))
    return fingerprint(json.dumps([rules, vocabulary, special, template], sort_keys=True))


def load_model(handle: ModelHandle, place: torch.device | None = None) -> LoadedModel:
    """The model with its weights in evaluation mode; for an adapter, only its base model.

    `luthier.methods.adapted.load` adds the adapter.

    Args:
        handle: the located model.
        place: the device for the weights; None: the computing device, which in any case decides
            their dtype.

    Raises:
        DataError: the weights are missing or damaged, or need code or pickle files that the
            configuration does not permit.
    """
    device = default_device()
    dtype, quantisation = resolve_dtype(handle.config.dtype, device), handle.config.quantisation
    place = place or device
    if place.type == "cpu":
        keep_freed_memory()
    if quantisation:
        require_quantisation()
    names = renaming(stored_shapes(handle.folder.weights))
    with _loading("weights", handle.folder):
        model, found = handle.auto_class.from_pretrained(
            handle.folder.path,
            config=copy.deepcopy(handle.settings),
            dtype=dtype,
            use_safetensors=None if handle.config.allow_pickle else True,
            trust_remote_code=handle.config.trust_remote_code,
            device_map={"": place} if quantisation else None,
            output_loading_info=True,
            variant=handle.folder.variant or None,
            key_mapping=names or None,
            **loading_options(handle.settings, quantisation, dtype),
        )
        require_all(found, handle.folder)
        if names or is_decoded(handle.settings):
            # Otherwise dequantised weights would be saved under their stored names.
            model._weight_conversions = []
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


@contextmanager
def _loading(what: str, folder: ModelFolder, file: str = "", *, code: str = "") -> Iterator[None]:
    """Convert exceptions of transformers into errors that name the files.

    Args:
        what: the loaded object, for the message.
        folder: its folder.
        file: the file at fault, if only one is possible.
        code: the file that would name code; empty: ``file``.

    Raises:
        DataError: any exception was raised.
        ResourceError: memory ran out.
    """
    problem, where = f"the {what} of {folder.id} cannot be loaded", str(folder.path / file)
    with reading_foreign(problem, where, _COMPLETE), quiet_transformers():
        try:
            yield
        except BaseException as error:
            if panicked(error):  # tokenizers' Rust code
                raise DataError(problem, where=where, fix=_COMPLETE) from error
            if isinstance(error, LuthierError) or "trust_remote_code" not in str(error):
                raise
            raise DataError(
                f"the {what} of {folder.id} needs Python code from its own repository",
                where=str(folder.path / (code or file)),
                fix="read that code, then set model.trust_remote_code=true if you trust it",
            ) from error
