"""Where a model's ``config.json`` is: a folder, the Hub's cache, the known models, the Hub."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

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

    In this order: a folder or file, the local cache of the Hub, the models that are known without
    a network, and the Hub itself (the configuration alone).

    Args:
        model: a folder, a ``config.json``, an id on the Hub, or the name of a known model.
        revision: on the Hub: a branch, a tag or a commit. Known models stand for ``main``.

    Raises:
        DataError: it is nowhere, or is no configuration.
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
    """Configurations of well-known models, by their id on the Hub."""
    return {name: entry["config"] for name, entry in known_facts().items()}


@cache
def known_facts() -> Mapping[str, Mapping[str, Any]]:
    """What is stated of each well-known model: ``config``, ``parameters`` and ``aliases``."""
    return {name: dict(values) for name, values in read_table("known_models.yaml").items()}


@cache
def _names() -> Mapping[str, str]:
    """Every name of a known model in lower case, and its id.

    An id comes before another model's alias, and both before the part of an id behind the slash.
    """
    names = {name.lower(): name for name in known_facts()}
    aliases = [(alias, name) for name, e in known_facts().items() for alias in e.get("aliases", ())]
    for alias, name in aliases:
        names.setdefault(alias.lower(), name)
    for alias, name in [(name, name) for name in known_facts()] + aliases:
        names.setdefault(alias.rpartition("/")[2].lower(), name)
    return names


def _known(model: str) -> tuple[Config, str] | None:
    name = _names().get(model.lower())
    return None if name is None else (known_models()[name], f"the known model {name}")


def _check(model: str, revision: str | None) -> None:
    """Refuse names that cannot be one, before they become paths.

    Raises:
        DataError: no name, or one that leaves the folders it is looked for in.
    """
    if not model.strip() or len(model) > 4096 or "\0" in model:
        raise DataError(f"{model[:80]!r} is no name of a model", fix=_hint(model[:80]))
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise DataError(
            f"{revision[:80]!r} is no revision", fix="give a branch, a tag or a commit of the model"
        )


def _base_of_adapter(folder: Path) -> str | None:
    """The model that the peft adapter in a folder belongs to; None: there is no adapter.

    Raises:
        DataError: the adapter does not say, or names an adapter in its turn.
    """
    path = folder / "adapter_config.json"
    try:
        if not path.is_file() or (folder / "config.json").is_file():
            return None
    except OSError:  # a name too long for a path is none
        return None
    base = _read(path).get("base_model_name_or_path")
    if not isinstance(base, str) or (Path(base) / path.name).is_file():
        raise DataError(
            "the adapter does not say which model it belongs to",
            where=f'{path}, field "base_model_name_or_path"',
            fix="plan with that model's own name",
        )
    return base


def _local(path: Path) -> Path | None:
    """The configuration in a folder, or the file itself; None where there is no such path.

    Raises:
        DataError: there is such a path, but no configuration, and it cannot be an id on the Hub.
    """
    try:
        if path.is_dir():
            inside = path / "config.json"
            if inside.is_file():
                return inside
            if _HUB_ID.fullmatch(str(path)):
                return None
            raise DataError(
                "this folder holds no model: it has no config.json",
                where=str(path),
                fix="give the folder that save_pretrained wrote",
            )
        if path.is_file() and path.suffix != ".json":
            raise DataError(
                "the planner reads a model's config.json, and this is another file",
                where=str(path),
                fix="give the model's folder, or its id on the Hub",
            )
        return path if path.is_file() else None
    except OSError:  # a name too long for a path is none
        return None


def _in_hub_cache(model: str, revision: str | None) -> Path | None:
    """The configuration in the Hub's own cache, of the newest snapshot where there are several."""
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
    """Where huggingface_hub keeps its downloads; importing it to ask would take longer than all."""
    if configured := os.environ.get("HF_HUB_CACHE"):
        return Path(configured).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    home = os.environ.get("HF_HOME") or Path(base) / "huggingface"
    return Path(home).expanduser() / "hub"


def _offline() -> bool:
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").lower() in {"1", "on", "yes", "true"} for name in names)


def _from_hub(model: str, revision: str | None) -> tuple[Config, str]:
    """Download the configuration, and nothing else.

    Raises:
        DataError: there is no such model, or no network.
    """
    at = f" at revision {revision!r}" if revision else ""
    if _offline() or not _HUB_ID.fullmatch(model):
        raise DataError(f"no configuration of {model!r}{at} is here", fix=_hint(model))
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    url = hf_hub_url(model, "config.json", revision=revision)
    try:
        # Asked first, because it says the size, and because without a network it fails at once,
        # where the download would be tried again and again.
        asked = Deadline(2 * _TIMEOUT_S)  # the timeout begins anew with each byte
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
    """What to do where a model was not found: names like it."""
    wanted = model.lower()
    close = difflib.get_close_matches(wanted, _names(), n=8, cutoff=0.6)
    # Several names may mean one model; difflib gives the most similar first.
    ids = list(dict.fromkeys(_names()[name] for name in close))[:3]
    start = f"did you mean {' or '.join(ids)}? " if ids else ""
    some = "meta-llama/Llama-3.1-8B, Qwen/Qwen3-4B, smollm2-135m-instruct"
    return f"{start}{len(known_facts())} models are known without a network, such as {some}"


def _read(path: Path) -> Config:
    """Parse a configuration; the file is not trusted.

    Raises:
        DataError: it is too large, or no JSON object.
    """
    values = parse_foreign(read_given(path, _MOST_BYTES), str(path))
    if not isinstance(values, dict):
        raise DataError("a config.json is a JSON object, and this is not", where=str(path))
    return values
