"""From a model's name to a folder that transformers can load."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from luthier.config import ModelConfig
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.core.files import file_sha256
from luthier.models import bundled
from luthier.models.gguf import convert_gguf

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_WEIGHT_PATTERNS = ["*.safetensors", "*.safetensors.index.json"]
_PICKLE_PATTERNS = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]
_OTHER_PATTERNS = ["*.json", "*.model", "*.txt", "*.jinja", "LICENSE*"]


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A local folder with a model in transformers' format."""

    id: str
    path: Path
    revision: str


def resolve_model(config: ModelConfig, console: Console) -> ModelFolder:
    """Find the model, fetching or converting it where that is needed.

    Raises:
        UsageError: it is on a server.
        DataError: there is no such model, or its files are not safe to load.
        ResourceError: it cannot be fetched.
    """
    if config.is_remote:
        raise no_weights(config.id)
    if model := bundled.BUNDLED_MODELS.get(config.id.lower()):
        source = bundled.require(model)
        folder = convert_gguf(source, f"{model.name}-{model.sha256[:12]}", console)
        return ModelFolder(model.name, folder, f"{model.package}=={model.version}")
    path = Path(config.id).expanduser()
    if path.suffix == ".gguf":
        return _from_gguf(path, console)
    if path.is_dir():
        _check_folder(path, config)
        return ModelFolder(path.name, path, _folder_revision(path))
    if _HUB_ID.fullmatch(config.id) and not path.exists():
        return _from_hub(config, console)
    raise _unknown(config.id)


def no_weights(url: str) -> UsageError:
    """The error to raise where a model on a server cannot do."""
    return UsageError(
        "a model on a server has no weights here: it can only be asked",
        where=url,
        fix="use evaluate, prompt or compare --judge with it, or name a model in files",
    )


def _from_gguf(path: Path, console: Console) -> ModelFolder:
    if not path.is_file():
        raise DataError("the file does not exist", where=str(path))
    digest = file_sha256(path)
    # The same content under another name is not converted again.
    names = {model.sha256: model.name for model in bundled.BUNDLED_MODELS.values()}
    folder = convert_gguf(path, f"{names.get(digest, path.stem)}-{digest[:12]}", console)
    return ModelFolder(path.name, folder, f"sha256:{digest[:16]}")


def _from_hub(config: ModelConfig, console: Console) -> ModelFolder:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    patterns = _OTHER_PATTERNS + _WEIGHT_PATTERNS
    patterns += _PICKLE_PATTERNS if config.allow_pickle else []
    patterns += ["*.py"] if config.trust_remote_code else []
    try:
        with console.progress(f"Fetching {config.id}", None):
            path = Path(
                snapshot_download(config.id, revision=config.revision, allow_patterns=patterns)
            )
    except LocalEntryNotFoundError:
        raise DataError(
            f"the model {config.id} is not on this machine and the Hub cannot be reached",
            fix=f"go online once and run 'luthier models pull {config.id}', "
            f"give a local folder, or use {', '.join(bundled.BUNDLED_MODELS)}",
        ) from None
    except Exception as error:
        raise DataError(
            f"the model {config.id} cannot be fetched: {error}",
            fix="check the spelling and the revision; for a gated model run 'hf auth login'",
        ) from error
    _check_folder(path, config)
    return ModelFolder(config.id, path, path.name)


def _check_folder(path: Path, config: ModelConfig) -> None:
    if not (path / "config.json").is_file():
        raise DataError(
            "this folder holds no model: it has no config.json",
            where=str(path),
            fix="give the folder that save_pretrained wrote",
        )
    if not config.allow_pickle and not any(path.glob("*.safetensors")):
        raise DataError(
            "this model has no safetensors weights",
            where=str(path),
            fix="convert it, or set model.allow_pickle=true if you trust where it comes from: "
            "pickle files can run code",
        )
    for index in path.glob("*.index.json"):
        _check_shards(index)


def _check_shards(index: Path) -> None:
    """Refuse an index that names files outside the model's folder."""
    try:
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        shards = {Path(name) for name in named}
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        raise DataError("this is not a readable index of weights", where=str(index)) from None
    for shard in shards:
        if shard.name != str(shard):
            raise DataError(
                f"the index names a file outside the model's folder: {shard}", where=str(index)
            )
        if not (index.parent / shard).is_file():
            raise DataError(f"the weights are incomplete: {shard} is missing", where=str(index))


def _folder_revision(path: Path) -> str:
    """A fingerprint of a local model's content."""
    digest = hashlib.sha256()
    for file in sorted([path / "config.json", *path.glob("*.safetensors"), *path.glob("*.bin")]):
        digest.update(file.name.encode())
        digest.update(file_sha256(file).encode())
    return f"sha256:{digest.hexdigest()[:16]}"


def _unknown(name: str) -> DataError:
    close = difflib.get_close_matches(name.lower(), bundled.BUNDLED_MODELS, n=1)
    known = ", ".join(bundled.BUNDLED_MODELS)
    fix = (
        f"did you mean {close[0]!r}?"
        if close
        else f"bundled models: {known}; or owner/name from the Hub"
    )
    return DataError(f"there is no model {name!r}: no bundled model, no folder, no Hub id", fix=fix)
