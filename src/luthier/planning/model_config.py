"""Search for a model's ``config.json``: a folder, the Hub's cache, known models, the Hub."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from luthier.core.choices import BUNDLED_MODELS
from luthier.core.deadline import Deadline
from luthier.core.errors import DataError
from luthier.core.untrusted import parse_foreign
from luthier.core.user_files import home, read_given
from luthier.planning.tables import read_table

_MOST_BYTES = 2**20
_HUB_ID = re.compile(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}")
_REVISION = re.compile(r"[\w.+-]+(/[\w.+-]+)*")
_TIMEOUT_S = 10.0

Config = Mapping[str, Any]


def find_config(model: str, revision: str | None = None) -> tuple[Config, str]:
    """The values of a model's configuration, and where they were found.

    Searched in this order: a folder or file, the Hub's local cache, the models known offline, and
    the Hub itself (the configuration only).

    Args:
        model: a folder, a ``config.json``, an id on the Hub, or the name of a known model.
        revision: a branch, tag or commit on the Hub. Known models have the revision ``main`` only.

    Raises:
        DataError: it was not found or is not a configuration.
    """
    _check(model, revision)
    folder = home(model)
    if (base := _base_of_adapter(folder)) is not None:
        return find_config(base)
    if (path := _local(folder)) is not None:
        return _read(path), str(path)
    if (path := _in_hub_cache(model, revision)) is not None:
        return _read(path), str(path)
    if revision in {None, "main"} and (known := _known(model)) is not None:
        return known
    return _from_hub(model, revision)


@cache
def known_models() -> Mapping[str, Config]:
    """Configurations of well-known models, by Hub id."""
    return {name: entry["config"] for name, entry in known_facts().items()}


@cache
def known_facts() -> Mapping[str, Mapping[str, Any]]:
    """Facts of each well-known model: ``config``, ``parameters`` and ``aliases``."""
    return {name: dict(values) for name, values in read_table("known_models.yaml").items()}


@cache
def _names() -> Mapping[str, str]:
    """Every name of a known model in lower case, with its id.

    Ids take precedence over other models' aliases, and both over the part of an id after the slash.
    """
    names = {name.lower(): name for name in known_facts()}
    aliases = [(alias, name) for name, e in known_facts().items() for alias in e.get("aliases", ())]
    for alias, name in aliases:
        names.setdefault(alias.lower(), name)
    for alias, name in [(name, name) for name in known_facts()] + aliases:
        names.setdefault(alias.rpartition("/")[2].lower(), name)
    return names


def full_name(model: str) -> str:
    """The Hub id of a known model, from any of its names; bundled and other names as they are."""
    return (
        model
        if model in BUNDLED_MODELS or home(model).exists()
        else _names().get(model.lower(), model)
    )


def _known(model: str) -> tuple[Config, str] | None:
    name = _names().get(model.lower())
    return None if name is None else (known_models()[name], f"the known model {name}")


def _check(model: str, revision: str | None) -> None:
    """Reject invalid names before they become paths.

    Raises:
        DataError: the name is invalid or would leave its folder.
    """
    if not model.strip() or len(model) > 4096 or "\0" in model:
        raise DataError(f"{model[:80]!r} is not a valid model name", fix=_hint(model[:80]))
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise DataError(
            f"{revision[:80]!r} is not a valid revision",
            fix="give a branch, a tag or a commit of the model",
        )


def _base_of_adapter(folder: Path) -> str | None:
    """The base model of a peft adapter in a folder; None: there is no adapter.

    Raises:
        DataError: the adapter names no base model, or another adapter.
    """
    path = folder / "adapter_config.json"
    try:
        if not path.is_file() or (folder / "config.json").is_file():
            return None
    except OSError:  # a name too long for a path
        return None
    base = _read(path).get("base_model_name_or_path")
    if not isinstance(base, str) or (Path(base) / path.name).is_file():
        raise DataError(
            "the adapter names no base model",
            where=f'{path}, field "base_model_name_or_path"',
            fix="plan with the name of the base model",
        )
    return base


def _local(path: Path) -> Path | None:
    """The configuration in a folder, or the file itself; None if the path does not exist.

    Raises:
        DataError: the path exists without a configuration and cannot be a Hub id.
    """
    try:
        if path.is_dir():
            inside = path / "config.json"
            if inside.is_file():
                return inside
            if _HUB_ID.fullmatch(str(path)):
                return None
            raise DataError(
                "this folder is not a model: it has no config.json",
                where=str(path),
                fix="give a folder written by save_pretrained",
            )
        if path.is_file() and path.suffix != ".json":
            raise DataError(
                "this file is not a config.json, which the planner needs",
                where=str(path),
                fix="give the model's folder, or its id on the Hub",
            )
        return path if path.is_file() else None
    except OSError:  # a name too long for a path
        return None


def _in_hub_cache(model: str, revision: str | None) -> Path | None:
    """The configuration in the Hub's cache; of several snapshots, the newest."""
    if not _HUB_ID.fullmatch(model):
        return None
    folder = _hub_cache() / f"models--{model.replace('/', '--')}"
    commit = revision or "main"
    reference = folder / "refs" / commit
    if reference.is_file():
        commit = reference.read_text(encoding="utf-8", errors="replace").strip()
    exact = folder / "snapshots" / commit / "config.json"
    if _REVISION.fullmatch(commit) and ".." not in commit and exact.is_file():
        return exact
    if revision is not None:
        return None
    found = sorted(folder.glob("snapshots/*/config.json"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def _hub_cache() -> Path:
    """The Hub's cache folder; importing huggingface_hub to ask takes longer than a whole plan."""
    if configured := os.environ.get("HF_HUB_CACHE"):
        return Path(configured).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    home = os.environ.get("HF_HOME") or Path(base) / "huggingface"
    return Path(home).expanduser() / "hub"


def _offline() -> bool:
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").lower() in {"1", "on", "yes", "true"} for name in names)


def _from_hub(model: str, revision: str | None) -> tuple[Config, str]:
    """Download the configuration only.

    Raises:
        DataError: the model does not exist, or there is no network.
    """
    at = f" at revision {revision!r}" if revision else ""
    if _offline() or not _HUB_ID.fullmatch(model):
        raise DataError(f"no configuration of {model!r}{at} is on this machine", fix=_hint(model))
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    url = hf_hub_url(model, "config.json", revision=revision)
    try:
        # The metadata request comes first: it gives the size, and without a network it fails at
        # once, whereas the download would retry.
        asked = Deadline(2 * _TIMEOUT_S)  # each received byte restarts the timeout
        size = asked.call(lambda: get_hf_file_metadata(url, timeout=_TIMEOUT_S)).size or 0
        small = size <= _MOST_BYTES
        path = hf_hub_download(model, "config.json", revision=revision) if small else None
    except Exception as error:
        raise DataError(
            f"the configuration of {model!r}{at} could not be downloaded: {type(error).__name__}",
            fix=f"{_hint(model)}; for a gated model run 'hf auth login'",
        ) from error
    if path is None:
        raise DataError("this is too large for a config.json", where=url)
    return _read(Path(path)), f"the Hub: {model}{at}"


def _hint(model: str) -> str:
    """Advice for a model that was not found: similar names."""
    wanted = model.lower()
    close = difflib.get_close_matches(wanted, _names(), n=8, cutoff=0.6)
    # Several names may stand for one model; difflib returns the most similar first.
    ids = list(dict.fromkeys(_names()[name] for name in close))[:3]
    start = f"did you mean {' or '.join(ids)}? " if ids else ""
    some = "meta-llama/Llama-3.1-8B, Qwen/Qwen3-4B, smollm2-135m-instruct"
    return f"{start}{len(known_facts())} models are known without a network, such as {some}"


def _read(path: Path) -> Config:
    """The parsed configuration, from an untrusted file.

    Raises:
        DataError: it is too large or not a JSON object.
    """
    values = parse_foreign(read_given(path, _MOST_BYTES), str(path))
    if not isinstance(values, dict):
        raise DataError("this config.json is not a JSON object", where=str(path))
    return values
