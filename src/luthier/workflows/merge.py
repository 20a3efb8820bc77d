"""Merging adapters, from a run or from elsewhere, into their base models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luthier.config import ModelConfig
from luthier.config.stored import stored_config
from luthier.core.console import Console
from luthier.core.folders import free_folder
from luthier.data.general import general_texts
from luthier.methods import load, load_adapted, save_adapted
from luthier.methods.merge import Merged, merge, require_mergeable
from luthier.models.adapter_folder import is_adapter_folder
from luthier.models.load import LoadedModel, open_model
from luthier.models.resolve import is_hub_id
from luthier.records.results import require_tuned_model
from luthier.records.run_directory import RunDirectory
from luthier.workflows.model_card import write_merged_card

_PROBE_TEXT = "python-topics"
_PROBES, _PROBE_TOKENS = 4, 64


def merge_run(
    run: RunDirectory, folder: Path, console: Console, given: Mapping[str, Any] | None = None
) -> Merged:
    """The result of merging, after a check on general text; see `luthier.methods.merge.merge`.

    Args:
        run: a finished tune run.
        folder: the folder for the merged model.
        console: shows progress.
        given: settings that a stored run may not decide, by dotted key.

    Raises:
        DataError: the run has no model yet, or merged and unmerged logits differ.
        UsageError: the adapter cannot be merged, the folder is not empty, or a setting that the run
            needs was not given.
    """
    require_tuned_model(run)
    with free_folder(folder):
        config = stored_config(run, given, parts=("model", "evaluate.general_text"))
        require_mergeable(config.method)
        base = config.base_of(config.method)
        loaded = load_adapted(run.model, base, console)
        merged = _merge_into(loaded, config.evaluate.general_text or _PROBE_TEXT, folder, console)
        write_merged_card(folder, run, open_model(base, console))
    return merged


def names_adapter(name: str) -> bool:
    """Whether a name is an adapter folder or a Hub id."""
    path = Path(name).expanduser()
    return is_adapter_folder(path) or (is_hub_id(name) and not path.exists())


def merge_adapter(model: ModelConfig, folder: Path, console: Console) -> Merged:
    """The result of merging an adapter from elsewhere, after a check on general text.

    Args:
        model: the adapter, with loading options of its base model.
        folder: the folder for the merged model.
        console: shows progress.

    Raises:
        DataError: the adapter or its base is missing or damaged, or merged and unmerged logits
            differ.
        UsageError: it is not an adapter or cannot be merged, or the folder is not empty.
    """
    with free_folder(folder):
        handle = open_model(model, console)
        merged = _merge_into(load(handle), _PROBE_TEXT, folder, console)
        write_merged_card(folder, None, handle)
    return merged


def _merge_into(loaded: LoadedModel, source: str, folder: Path, console: Console) -> Merged:
    texts = general_texts(source, console)[:_PROBES]
    probes = [
        loaded.tokenizer(text, add_special_tokens=False)["input_ids"][:_PROBE_TOKENS]
        for text, _ in texts
    ]
    merged = merge(loaded, probes)
    save_adapted(merged.loaded, folder)
    return merged
