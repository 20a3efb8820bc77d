"""Models and adapters of the Hugging Face Hub: the files that are needed, and no others."""

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
"""For all of what is asked of a repository; the timeout before begins anew with each byte."""
# Settings, tokenizers and templates; beside the model's own folder only further templates count.
_DESCRIPTIONS = ("*.json", "*.model", "*.txt", "*.jinja", "*.tiktoken", "*.bpe", "LICENSE*")
_TEMPLATES = "additional_chat_templates/*.jinja"


def fetch_model(config: ModelConfig, console: Console) -> Path:
    """The folder of a Hub repository in the local cache; what is missing of it is fetched.

    Without a network it is the folder as an earlier call has left it.

    Args:
        config: which repository and revision, and what may be fetched of it.
        console: shows progress.

    Raises:
        DataError: the repository cannot be fetched, or has no weights that may be loaded.
    """
    return _fetch(config, console, _wanted)


def fetch_tokenizer(config: ModelConfig, console: Console) -> Path:
    """As `fetch_model`, without any weights.

    Raises:
        DataError: the repository cannot be fetched.
    """
    return _fetch(config, console, _descriptions)


def _fetch(config: ModelConfig, console: Console, wanted: _Choice) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        with console.progress(f"Fetching {config.id}", None):
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
            f"the model {config.id} cannot be fetched: {_said(error)}",
            fix="check the spelling and the revision; for a gated model run 'hf auth login'",
        ) from error


def _said(error: Exception) -> str:
    """Words of the Hub, without the token that it was sent."""
    from huggingface_hub import get_token

    return Secrets.of_environment(get_token()).scrub(str(error))


def _cached(config: ModelConfig) -> Path:
    """The folder of a repository as it is in the cache; who looks into it sees what is missing.

    Raises:
        DataError: it is not there.
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
    """The files of a repository that loading needs, sorted.

    Args:
        names: all of its files.
        entry: where loading starts; None: in an adapter's repository.
        shards: the files that the entry names.
        code: whether the repository's Python files are wanted too.
    """
    wanted = {name for name in names if _describes(name)}
    wanted |= {name for name in names if code and name.endswith(".py")}
    wanted |= {entry.name, *shards} if entry else set(adapter_files(names))
    return tuple(sorted(wanted))


def _descriptions(_config: ModelConfig, names: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in names if _describes(name)))


def _wanted(config: ModelConfig, names: Collection[str]) -> tuple[str, ...]:
    """What is fetched; an index is fetched first, to know which files it names."""
    from huggingface_hub import hf_hub_download

    entry = find_entry(names, allow_pickle=config.allow_pickle)
    shards: tuple[str, ...] = ()
    if entry is None and ADAPTER_CONFIG not in names:
        # Descriptions alone are enough to say in the usual words what is missing.
        return _descriptions(config, names)
    if entry and entry.is_index:
        index = hf_hub_download(config.id, entry.name, revision=config.revision)
        shards = read_index(Path(index))
    return needed_files(names, entry, shards, code=config.trust_remote_code)


def _listed(config: ModelConfig) -> tuple[str, ...] | None:
    """The names of the repository's files; None: the Hub cannot be asked.

    Raises:
        HfHubHTTPError: the Hub says that there is no such repository, or that it is closed.
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
    """Whether a file says what the model is; indices of weights are asked for by name."""
    if "/" in name:
        return fnmatchcase(name, _TEMPLATES)
    weights = ".index." in name and name.endswith(".json")
    return not weights and any(fnmatchcase(name, pattern) for pattern in _DESCRIPTIONS)
