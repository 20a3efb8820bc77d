"""Merging the adapter of a run."""

from __future__ import annotations

from pathlib import Path

from luthier.config import load_config
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.run_directory import RunDirectory
from luthier.data.general import general_texts
from luthier.methods import load_adapted, save_adapted
from luthier.methods.merge import Merged, merge

_PROBE_TEXT = "python-topics"
_PROBES, _PROBE_TOKENS = 4, 64


def merge_run(run: RunDirectory, folder: Path, console: Console) -> Merged:
    """Merge, check on general text, and save; see `luthier.methods.merge.merge`.

    Args:
        run: a finished tuning.
        folder: where the whole model goes.
        console: shows progress.

    Raises:
        DataError: the run has no model yet, or merged and unmerged disagree.
        UsageError: the adapter cannot be merged.
    """
    if not run.model.is_dir():
        raise DataError(
            "this run has no tuned model",
            where=str(run.path),
            fix="finish it with 'luthier tune'; of an adapt run, name a rung: RUN/rungs/lora",
        )
    config = load_config(run.config)
    loaded = load_adapted(run.model, config.base_of(config.method), console)
    texts = general_texts(config.evaluate.general_text or _PROBE_TEXT, console)[:_PROBES]
    probes = [
        loaded.tokenizer(text, add_special_tokens=False)["input_ids"][:_PROBE_TOKENS]
        for text, _ in texts
    ]
    merged = merge(loaded, probes)
    save_adapted(merged.loaded, folder)
    return merged
