"""Resolution of a model's name to a folder that transformers can load."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from luthier.config import ModelConfig
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.core.files import file_sha256
from luthier.core.names import did_you_mean
from luthier.core.user_files import home, is_there, refuse_irregular, refuse_links_away
from luthier.models import bundled
from luthier.models.adapter_folder import (
    ADAPTER_CONFIG,
    AdapterFolder,
    is_adapter_folder,
    read_adapter,
)
from luthier.models.gguf import convert_gguf, converted
from luthier.models.gguf_header import check_header
from luthier.models.hub import fetch_model, fetch_tokenizer
from luthier.models.settings_file import read_config
from luthier.models.weights import Entry, find_entry, stored_shapes, weight_files, weightless

_EXPLICIT = "transformers_weights"
_WEIGHTS = (".safetensors", ".gguf", ".bin")
_SAFE_ENDS = (".safetensors", ".safetensors.index.json")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A local folder with a model in transformers' format.

    Attributes:
        id: the model's name.
        path: the folder of the model, or of an adapter's base model.
        revision: its revision, including the adapter's.
        loads_as: the base model's name for an adapter: a Hub id, a folder, a GGUF file, or a
            bundled name, but never a local cache path.
        variant: the variant of the weights, if their names have one.
        weights: the files with the tensors, sorted by name.
        adapter: the adapter, if the model is one.
    """

    id: str
    path: Path
    revision: str
    loads_as: str
    variant: str = ""
    weights: tuple[Path, ...] = ()
    adapter: AdapterFolder | None = None


def resolve_model(config: ModelConfig, console: Console) -> ModelFolder:
    """The located model, downloaded or converted if necessary.

    Raises:
        UsageError: it is on a server, or a base is named for a model that is not an adapter.
        DataError: the model does not exist, or its files are not safe to load.
        ResourceError: it cannot be downloaded.
    """
    if config.is_remote:
        raise no_weights(config.id)
    found = _find(config, console)
    if config.base is not None and found.adapter is None:
        raise UsageError(
            f"{config.id} is a full model, not an adapter, so it has no base model",
            where="model.base",
            fix="unset it, or name an adapter with model.id",
        )
    return found


def resolve_tokenizer(name: str, config: ModelConfig, console: Console) -> Path:
    """The folder of a tokenizer stored separately from the model.

    Args:
        name: a folder, a bundled model, or a Hub id, whose weights are not downloaded.
        config: the model's configuration.
        console: shows progress.

    Raises:
        DataError: the tokenizer does not exist.
        ResourceError: it cannot be downloaded.
    """
    path = home(name)
    if is_there(path) and path.is_dir():
        _require_own_files(path)
        return path
    if name.lower() in bundled.BUNDLED_MODELS:
        return _find(config.model_copy(update={"id": name}), console).path
    if is_hub_id(name):
        return fetch_tokenizer(config.model_copy(update={"id": name, "revision": None}), console)
    raise _unknown(name)


def _require_own_files(path: Path) -> None:
    """Reject a folder in which transformers would open files outside the model.

    Raises:
        DataError: it contains a pipe, a device, or a link to a file elsewhere other than weights.
    """
    refuse_irregular(path)
    refuse_links_away(path, but=_WEIGHTS)


def is_hub_id(name: str) -> bool:
    """Whether a name has the form of a Hub id: ``owner/name``."""
    return _HUB_ID.fullmatch(name) is not None


def base_config(config: ModelConfig, adapter: AdapterFolder) -> ModelConfig:
    """The configuration of an adapter's base model.

    A relative folder in the adapter may start from the working directory or from the adapter's.

    Raises:
        DataError: neither the adapter nor ``model.base`` names a base model.
    """
    name = config.base or adapter.base
    if name is None:
        raise DataError(
            "the adapter names no base model",
            where=f'{adapter.path / ADAPTER_CONFIG}, field "base_model_name_or_path"',
            fix="name it with model.base=…",
        )
    if not is_there(home(name)):
        name = _moved(name, adapter.path)
    revision = None if config.base else adapter.revision
    return config.model_copy(update={"id": name, "base": None, "revision": revision})


def _moved(name: str, adapter: Path) -> str:
    """The local location of a folder that an adapter names, or the name unchanged."""
    if is_there(adapter / name) and (adapter / name).is_dir():
        return str(adapter / name)
    # A bundled model's folder is in the cache of the machine that trained the adapter.
    for model in bundled.BUNDLED_MODELS.values():
        if Path(name).name == _converted_name(model):
            return model.name
    return name


def bundled_path(model: bundled.BundledModel) -> Path | None:
    """The folder of a bundled model, its GGUF file before the first use, or None if missing."""
    return converted(_converted_name(model)) or bundled.find(model)


def _converted_name(model: bundled.BundledModel) -> str:
    """The folder name of a bundled model's safetensors version."""
    return f"{model.name}-{model.sha256[:12]}"


def _find(config: ModelConfig, console: Console) -> ModelFolder:
    if model := bundled.BUNDLED_MODELS.get(config.id.lower()):
        name = _converted_name(model)
        folder = converted(name) or convert_gguf(bundled.require(model), name, console)
        revision = f"{model.package}=={model.version}"
        return _whole(model.name, folder, revision, model.name, config)
    path = home(config.id)
    if path.suffix == ".gguf":
        return _from_gguf(path, config, console)
    if is_there(path) and path.is_dir():
        _require_own_files(path)
        if _holds_adapter(path, config):
            return _with_base(path.name, path, config, console)
        found = _whole(path.name, path, "", str(path.absolute()), config)
        stored_shapes(found.weights)  # rejects files that are not weights, whatever their size
        return replace(found, revision=_content(path, found.weights))
    if is_hub_id(config.id) and not is_there(path):
        path = fetch_model(config, console)
        if _holds_adapter(path, config):
            return _with_base(config.id, path, config, console)
        return _whole(config.id, path, path.name, config.id, config)
    raise _unknown(config.id)


def _whole(name: str, path: Path, revision: str, loads_as: str, config: ModelConfig) -> ModelFolder:
    """A model that is not an adapter, with its weight files."""
    entry, files = _checked(path, config)
    return ModelFolder(name, path, revision, loads_as, entry.variant, files)


def _with_base(name: str, path: Path, config: ModelConfig, console: Console) -> ModelFolder:
    """An adapter with its base model."""
    adapter = read_adapter(path)
    named = base_config(config, adapter)
    if named.is_remote and config.base is None:
        raise DataError(
            f"the adapter names a server as its base model: {named.id}",
            where=f'{path / ADAPTER_CONFIG}, field "base_model_name_or_path"',
            fix="name the base model with model.base=…",
        )
    if named.is_remote:
        raise no_weights(named.id)
    if is_adapter_folder(home(named.id)):
        raise _base_is_adapter(path, named.id)
    try:
        base = _find(named, console)
    except DataError as error:
        raise DataError(
            f"the adapter's base model {named.id} cannot be used: {error.problem}",
            where=str(path),
            fix=f"name the base model with model.base=…; {error.fix}".rstrip("; "),
        ) from error
    if base.adapter is not None:
        raise _base_is_adapter(path, named.id)
    revision = f"{base.revision}+{adapter.content()}"
    return replace(base, id=name, revision=revision, adapter=adapter)


def _base_is_adapter(path: Path, base: str) -> DataError:
    return DataError(
        f"the adapter's base model {base} is itself an adapter",
        where=str(path),
        fix="merge that one first with 'luthier merge', and name the merged model with "
        "model.base=…",
    )


def no_weights(url: str) -> UsageError:
    """The error to raise where a model on a server does not suffice."""
    return UsageError(
        "a model on a server has no local weights",
        where=url,
        fix="use evaluate, prompt or judge with it, or name a local model",
    )


def _from_gguf(path: Path, config: ModelConfig, console: Console) -> ModelFolder:
    if not is_there(path):
        raise DataError("the file does not exist", where=str(path))
    check_header(path)
    digest = file_sha256(path)
    # The same content under another name is not converted again.
    names = {model.sha256: model.name for model in bundled.BUNDLED_MODELS.values()}
    folder = convert_gguf(path, f"{names.get(digest, path.stem)}-{digest[:12]}", console)
    return _whole(path.name, folder, f"sha256:{digest[:16]}", str(path.absolute()), config)


def _holds_adapter(path: Path, config: ModelConfig) -> bool:
    """Whether a folder is an adapter's, possibly with its base model's ``config.json``.

    Raises:
        DataError: it contains both an adapter and a full model.
    """
    if not is_adapter_folder(path):
        return False
    whole = find_entry(_names(path), allow_pickle=config.allow_pickle)
    if whole and (path / "config.json").is_file():
        raise DataError(
            f"this folder has both a full model ({whole.name}) and an adapter ({ADAPTER_CONFIG}), "
            "and transformers would load the adapter on another base",
            where=str(path),
            fix="move one of them into a separate folder",
        )
    return True


def _checked(path: Path, config: ModelConfig) -> tuple[Entry, tuple[Path, ...]]:
    """The entry file of a folder's weights, and all weight files.

    Raises:
        DataError: there is no model, or it is incomplete or not safe to load.
    """
    if not (path / "config.json").is_file():
        raise _no_model(path)
    names = _names(path)
    entry = _named_entry(path) or find_entry(names, allow_pickle=config.allow_pickle)
    if entry is None:
        raise weightless(path, names, allow_pickle=config.allow_pickle)
    return entry, weight_files(path, entry)


def _no_model(path: Path) -> DataError:
    """The error to raise for a folder without a model; subfolders may have one."""
    below = sorted(
        inner.name
        for inner in path.iterdir()
        if any((inner / name).is_file() for name in ("config.json", ADAPTER_CONFIG))
    )
    if below:
        return DataError(
            f"this folder is not a model, but has models in subfolders: {_listed(below)}",
            where=str(path),
            fix=f"name one of them, such as {path / below[-1]}",
        )
    return DataError(
        "this folder is not a model: it has no config.json",
        where=str(path),
        fix="give a folder written by save_pretrained",
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _named_entry(path: Path) -> Entry | None:
    """The entry file that ``config.json`` names for transformers; None if it names none.

    Raises:
        DataError: it is not a safetensors file in the folder.
    """
    name = read_config(path).get(_EXPLICIT)
    if name is None:
        return None
    if not isinstance(name, str) or Path(name).name != name or not name.endswith(_SAFE_ENDS):
        raise DataError(
            f"config.json names weights that are not safetensors of this folder: {name!r}",
            where=f'{path / "config.json"}, field "{_EXPLICIT}"',
            fix="remove the field",
        )
    return Entry(name)


def _names(path: Path) -> tuple[str, ...]:
    """The names in a folder, not in subfolders, as in transformers."""
    return tuple(sorted(file.name for file in path.iterdir()))


def _content(path: Path, files: Sequence[Path]) -> str:
    """A fingerprint of a local model's loaded content, ignoring other files."""
    digest = hashlib.sha256()
    for file in sorted([path / "config.json", *files]):
        digest.update(file.name.encode())
        digest.update(file_sha256(file).encode())
    return f"sha256:{digest.hexdigest()[:16]}"


def _unknown(name: str) -> DataError:
    known = ", ".join(bundled.BUNDLED_MODELS)
    fix = did_you_mean(name.lower(), bundled.BUNDLED_MODELS)
    fix = fix or f"bundled models: {known}; or owner/name from the Hub"
    return DataError(
        f"model {name!r} not found: it is not a bundled model, a folder or a Hub id", fix=fix
    )
