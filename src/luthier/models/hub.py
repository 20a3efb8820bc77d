"""Models and adapters of the Hugging Face Hub: only the necessary files are downloaded."""

from __future__ import annotations

import glob
from collections.abc import Callable, Collection, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from luthier.config import ModelConfig
from luthier.core.console import Console
from luthier.core.deadline import Deadline
from luthier.core.disk import is_of_a_disk, unwritable
from luthier.core.errors import DataError
from luthier.core.secrets import Secrets
from luthier.models import bundled
from luthier.models.adapter_folder import ADAPTER_CONFIG, adapter_files
from luthier.models.weights import Entry, find_entry, read_index

_Choice = Callable[[ModelConfig, Collection[str]], tuple[str, ...]]
_TIMEOUT_S = 10.0
_LONGEST_S = 60.0
"""Limit for all requests to a repository; timeouts per request restart with each byte."""
# Settings, tokenizers and templates; outside the model's folder only additional templates count.
_DESCRIPTIONS = ("*.json", "*.model", "*.txt", "*.jinja", "*.tiktoken", "*.bpe", "LICENSE*")
_TEMPLATES = "additional_chat_templates/*.jinja"


def fetch_model(config: ModelConfig, console: Console) -> Path:
    """The folder of a Hub repository in the local cache, after downloading missing files.

    Without a network, the folder as cached earlier.

    Args:
        config: the repository, the revision, and the permitted files.
        console: shows progress.

    Raises:
        DataError: the repository cannot be downloaded, or has no loadable weights.
    """
    return _fetch(config, console, _wanted)


def fetch_tokenizer(config: ModelConfig, console: Console) -> Path:
    """As `fetch_model`, without weights.

    Raises:
        DataError: the repository cannot be downloaded.
    """
    return _fetch(config, console, _descriptions)


def _fetch(config: ModelConfig, console: Console, wanted: _Choice) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        with console.progress(f"Downloading {config.id}", None):
            names = _listed(config)
            if names is None:
                return _cached(config)
            patterns = [glob.escape(name) for name in wanted(config, names)]
            folder = snapshot_download(config.id, revision=config.revision, allow_patterns=patterns)
            return Path(folder)
    except DataError:
        raise
    except LocalEntryNotFoundError:
        raise _unreachable(config) from None
    except Exception as error:
        if is_of_a_disk(error):
            raise unwritable(Path(constants.HF_HUB_CACHE, config.id), error) from error
        raise DataError(
            f"the model {config.id} cannot be downloaded: {_said(error)}",
            fix="check the spelling and the revision; for a gated model run 'hf auth login'",
        ) from error


def _said(error: Exception) -> str:
    """The Hub's message, without the token sent to it."""
    from huggingface_hub import get_token

    return Secrets.of_environment(get_token()).scrub(str(error))


def _cached(config: ModelConfig) -> Path:
    """The cached folder of a repository; readers find out if files are missing.

    Raises:
        DataError: it is not cached.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    for name in ("config.json", ADAPTER_CONFIG, "tokenizer_config.json"):
        found = try_to_load_from_cache(
            config.id, name, cache_dir=constants.HF_HUB_CACHE, revision=config.revision
        )
        if isinstance(found, str):
            return Path(found).parent
    raise _unreachable(config)


def _unreachable(config: ModelConfig) -> DataError:
    return DataError(
        f"the model {config.id} is not on this machine and the Hub cannot be reached",
        fix=f"go online once and run 'luthier models pull {config.id}', "
        f"give a local folder, or use {', '.join(bundled.BUNDLED_MODELS)}",
    )


def needed_files(
    names: Collection[str], entry: Entry | None, shards: Sequence[str] = (), *, code: bool = False
) -> tuple[str, ...]:
    """The sorted files of a repository needed for loading.

    Args:
        names: all of its files.
        entry: the file at which loading starts; None in an adapter's repository.
        shards: the files named by the entry.
        code: whether the repository's Python files are needed.
    """
    wanted = {name for name in names if _describes(name)}
    wanted |= {name for name in names if code and name.endswith(".py")}
    wanted |= {entry.name, *shards} if entry else set(adapter_files(names))
    return tuple(sorted(wanted))


def _descriptions(_config: ModelConfig, names: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in names if _describes(name)))


def _wanted(config: ModelConfig, names: Collection[str]) -> tuple[str, ...]:
    """The files to download; an index is fetched first to find the files it names."""
    from huggingface_hub import hf_hub_download

    entry = find_entry(names, allow_pickle=config.allow_pickle)
    shards: tuple[str, ...] = ()
    if entry is None and ADAPTER_CONFIG not in names:
        # Metadata files suffice for the usual error about missing weights.
        return _descriptions(config, names)
    if entry and entry.is_index:
        index = hf_hub_download(config.id, entry.name, revision=config.revision)
        shards = read_index(Path(index))
    return needed_files(names, entry, shards, code=config.trust_remote_code)


def _listed(config: ModelConfig) -> tuple[str, ...] | None:
    """The names of the repository's files; None: the Hub cannot be reached.

    Raises:
        HfHubHTTPError: the repository does not exist or is not accessible.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError

    if constants.HF_HUB_OFFLINE:
        return None
    try:
        api = HfApi(endpoint=constants.ENDPOINT)
        info = Deadline(_LONGEST_S).call(
            lambda: api.model_info(config.id, revision=config.revision, timeout=_TIMEOUT_S)
        )
    except HfHubHTTPError as error:
        if error.response is not None and error.response.status_code < 500:
            raise
        return None
    except Exception:  # noqa: BLE001 - of whichever HTTP library huggingface_hub uses
        return None
    return tuple(sibling.rfilename for sibling in info.siblings or ())


def _describes(name: str) -> bool:
    """Whether a file is model metadata; indices of weights are requested by name."""
    if "/" in name:
        return fnmatchcase(name, _TEMPLATES)
    weights = ".index." in name and name.endswith(".json")
    return not weights and any(fnmatchcase(name, pattern) for pattern in _DESCRIPTIONS)
