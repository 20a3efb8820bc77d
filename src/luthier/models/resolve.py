"""From a model's name to a folder that transformers can load."""

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
        id: what the model is called.
        path: the folder of the model, or of the base model of an adapter.
        revision: which version of it, adapter included.
        loads_as: what an adapter calls it: a Hub id, a folder, a GGUF file, or a bundled name;
            never a place in a cache, which no one else has.
        variant: of the weights, where their names carry one.
        weights: the files that hold the tensors, in the order of their names.
        adapter: the adapter beside it, where the model is one.
    """

    id: str
    path: Path
    revision: str
    loads_as: str
    variant: str = ""
    weights: tuple[Path, ...] = ()
    adapter: AdapterFolder | None = None


def resolve_model(config: ModelConfig, console: Console) -> ModelFolder:
    """Find the model, fetching or converting it where that is needed.

    Raises:
        UsageError: it is on a server, or a base is named for a model that is not an adapter.
        DataError: there is no such model, or its files are not safe to load.
        ResourceError: it cannot be fetched.
    """
    if config.is_remote:
        raise no_weights(config.id)
    found = _find(config, console)
    if config.base is not None and found.adapter is None:
        raise UsageError(
            f"{config.id} is a whole model, not an adapter, so it has no base",
            where="model.base",
            fix="leave it out, or name an adapter with model.id",
        )
    return found


def resolve_tokenizer(name: str, config: ModelConfig, console: Console) -> Path:
    """The folder of a tokenizer that lies elsewhere than the model.

    Args:
        name: a folder, a bundled model, or a Hub id, of which no weights are fetched.
        config: of the model.
        console: shows progress.

    Raises:
        DataError: there is none.
        ResourceError: it cannot be fetched.
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
    """Refuse a folder in which transformers would open other files than the model's.

    Raises:
        DataError: there is a pipe or a device, or a link to a file elsewhere that is no weights.
    """
    refuse_irregular(path)
    refuse_links_away(path, but=_WEIGHTS)


def is_hub_id(name: str) -> bool:
    """Whether a name has the form of one on the Hub: ``owner/name``."""
    return _HUB_ID.fullmatch(name) is not None


def base_config(config: ModelConfig, adapter: AdapterFolder) -> ModelConfig:
    """The configuration of the model that an adapter belongs to.

    A folder that the adapter names may be meant from the working directory, or from its own.

    Raises:
        DataError: the adapter does not say which model, and nor does ``model.base``.
    """
    name = config.base or adapter.base
    if name is None:
        raise DataError(
            "the adapter does not say which model it belongs to",
            where=f'{adapter.path / ADAPTER_CONFIG}, field "base_model_name_or_path"',
            fix="name that model with model.base=…",
        )
    if not is_there(home(name)):
        name = _moved(name, adapter.path)
    revision = None if config.base else adapter.revision
    return config.model_copy(update={"id": name, "base": None, "revision": revision})


def _moved(name: str, adapter: Path) -> str:
    """Where the folder that an adapter names is found from here, or the name as it is."""
    if is_there(adapter / name) and (adapter / name).is_dir():
        return str(adapter / name)
    # The folder of a bundled model is in the cache of the machine that trained the adapter.
    for model in bundled.BUNDLED_MODELS.values():
        if Path(name).name == _converted_name(model):
            return model.name
    return name


def _converted_name(model: bundled.BundledModel) -> str:
    """The name of the folder with a bundled model's safetensors version."""
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
        stored_shapes(found.weights)  # a file of whatever size is no file of weights by its size
        return replace(found, revision=_content(path, found.weights))
    if is_hub_id(config.id) and not is_there(path):
        path = fetch_model(config, console)
        if _holds_adapter(path, config):
            return _with_base(config.id, path, config, console)
        return _whole(config.id, path, path.name, config.id, config)
    raise _unknown(config.id)


def _whole(name: str, path: Path, revision: str, loads_as: str, config: ModelConfig) -> ModelFolder:
    """A model that is not an adapter, with the files of its weights."""
    entry, files = _checked(path, config)
    return ModelFolder(name, path, revision, loads_as, entry.variant, files)


def _with_base(name: str, path: Path, config: ModelConfig, console: Console) -> ModelFolder:
    """The model that an adapter belongs to, with the adapter."""
    adapter = read_adapter(path)
    named = base_config(config, adapter)
    if named.is_remote and config.base is None:
        raise DataError(
            f"the adapter names a server as its base model: {named.id}",
            where=f'{path / ADAPTER_CONFIG}, field "base_model_name_or_path"',
            fix="name the model that it belongs to with model.base=…",
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
            fix=f"name the model that it belongs to with model.base=…; {error.fix}".rstrip("; "),
        ) from error
    if base.adapter is not None:
        raise _base_is_adapter(path, named.id)
    revision = f"{base.revision}+{adapter.content()}"
    return replace(base, id=name, revision=revision, adapter=adapter)


def _base_is_adapter(path: Path, base: str) -> DataError:
    return DataError(
        f"the adapter belongs to {base}, which is an adapter itself",
        where=str(path),
        fix="merge that one first with 'luthier merge', and name the merged model with "
        "model.base=…",
    )


def no_weights(url: str) -> UsageError:
    """The error to raise where a model on a server cannot do."""
    return UsageError(
        "a model on a server has no weights here: it can only be asked",
        where=url,
        fix="use evaluate, prompt or judge with it, or name a model in files",
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
    """Whether a folder is an adapter's; its base model's ``config.json`` may lie beside it.

    Raises:
        DataError: it holds an adapter and a whole model, and nothing says which is meant.
    """
    if not is_adapter_folder(path):
        return False
    whole = find_entry(_names(path), allow_pickle=config.allow_pickle)
    if whole and (path / "config.json").is_file():
        raise DataError(
            f"this folder holds a whole model ({whole.name}) and an adapter ({ADAPTER_CONFIG}), "
            "and transformers would load the adapter on another base",
            where=str(path),
            fix="move one of the two into a folder of its own",
        )
    return True


def _checked(path: Path, config: ModelConfig) -> tuple[Entry, tuple[Path, ...]]:
    """Where the loading of a folder's weights starts, and the files that hold them.

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
    """The error to raise for a folder without a model; those below it may have one."""
    below = sorted(
        inner.name
        for inner in path.iterdir()
        if any((inner / name).is_file() for name in ("config.json", ADAPTER_CONFIG))
    )
    if below:
        return DataError(
            f"this folder holds no model itself, but there are models below it: {_listed(below)}",
            where=str(path),
            fix=f"name one of them, such as {path / below[-1]}",
        )
    return DataError(
        "this folder holds no model: it has no config.json",
        where=str(path),
        fix="give the folder that save_pretrained wrote",
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _named_entry(path: Path) -> Entry | None:
    """The file that ``config.json`` tells transformers to start with; None: it tells nothing.

    Raises:
        DataError: it is not a safetensors file of the folder.
    """
    name = read_config(path).get(_EXPLICIT)
    if name is None:
        return None
    if not isinstance(name, str) or Path(name).name != name or not name.endswith(_SAFE_ENDS):
        raise DataError(
            f"config.json names weights that are not safetensors of this folder: {name!r}",
            where=f'{path / "config.json"}, field "{_EXPLICIT}"',
            fix="leave the field out",
        )
    return Entry(name)


def _names(path: Path) -> tuple[str, ...]:
    """The names in a folder; transformers looks no deeper."""
    return tuple(sorted(file.name for file in path.iterdir()))


def _content(path: Path, files: Sequence[Path]) -> str:
    """A fingerprint of a local model's content: of what is loaded, not of what lies beside it."""
    digest = hashlib.sha256()
    for file in sorted([path / "config.json", *files]):
        digest.update(file.name.encode())
        digest.update(file_sha256(file).encode())
    return f"sha256:{digest.hexdigest()[:16]}"


def _unknown(name: str) -> DataError:
    known = ", ".join(bundled.BUNDLED_MODELS)
    fix = did_you_mean(name.lower(), bundled.BUNDLED_MODELS)
    fix = fix or f"bundled models: {known}; or owner/name from the Hub"
    return DataError(f"there is no model {name!r}: no bundled model, no folder, no Hub id", fix=fix)
