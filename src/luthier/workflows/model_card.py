"""The model card of a saved model, from the records of its run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luthier.config import RunConfig
from luthier.config.stored import described_config
from luthier.core.files import read_bytes, read_json, write_atomically
from luthier.data.splits import SPLITS
from luthier.evaluation import load_evaluation
from luthier.models.adapter_folder import is_adapter_folder, read_adapter
from luthier.models.bundled import BUNDLED_MODELS
from luthier.models.load import ModelHandle
from luthier.models.resolve import is_hub_id
from luthier.records.forgetting import Forgetting
from luthier.records.run_directory import RunDirectory
from luthier.records.training import TrainingRecord
from luthier.reports.card import (
    OURS,
    OWN_ADAPTER,
    PEFT_ADAPTER,
    WHOLE_MODEL,
    Base,
    Card,
    render_card,
)
from luthier.reports.content import read_evaluations

CARD = "README.md"
# Settings of the training loop that decide the result.
_LOOP = ("optimizer", "batch_size", "schedule", "warmup_fraction", "max_grad_norm", "neftune_alpha")


def has_card(run: RunDirectory) -> bool:
    """Whether a tuned model has a card."""
    return (run.model / CARD).is_file()


def write_card(run: RunDirectory, handle: ModelHandle) -> None:
    """Write or update the card of a run's model, with the current scores.

    A card that the user has taken over is left unchanged.

    Args:
        run: a finished tune run.
        handle: the base model.

    Raises:
        ResourceError: the folder is not writable.
    """
    _write(run.model, _card(run, handle, run.model))


def write_merged_card(folder: Path, run: RunDirectory | None, base: ModelHandle) -> None:
    """Write the card of a merged model.

    Args:
        folder: the folder of the model.
        run: the tune run of the adapter; None: unknown.
        base: the base model of the adapter.

    Raises:
        ResourceError: the folder is not writable.
    """
    _write(folder, _card(run, base, folder, merged=True))


def _write(folder: Path, card: Card) -> None:
    path = folder / CARD
    if not path.exists() or OURS.encode() in read_bytes(path):
        write_atomically(path, render_card(card))


def _card(
    run: RunDirectory | None, handle: ModelHandle, folder: Path, *, merged: bool = False
) -> Card:
    form = WHOLE_MODEL
    if is_adapter_folder(folder):
        form = PEFT_ADAPTER if read_adapter(folder).is_peft else OWN_ADAPTER
    known = _of_run(run) if run else {}
    return Card(
        form=form,
        base=_base(handle),
        writes_after_encoder=handle.is_encoder_decoder,
        has_chat_template=handle.has_chat_template,
        merged=merged,
        **known,
    )


def _base(handle: ModelHandle) -> Base:
    """The base model, by a name that is valid on other machines."""
    name, auto_class = handle.folder.loads_as, handle.auto_class.__name__
    if bundled := BUNDLED_MODELS.get(name):
        return Base(
            bundled.upstream,
            on_hub=True,
            auto_class=auto_class,
            note=f"It was trained on {bundled.file} of the package {bundled.package}=="
            f"{bundled.version}, which Luthier calls {bundled.name}; the weights on the Hub are "
            "those before rounding to so few bits, and give slightly other answers.",
            rows=handle.rows,
            luthier_name=bundled.name,
        )
    if is_hub_id(name):
        revision = handle.folder.path.name
        return Base(name, on_hub=True, auto_class=auto_class, revision=revision, rows=handle.rows)
    path = Path(name)
    file = path.name if path.suffix == ".gguf" else ""
    return Base(path.name, on_hub=False, auto_class=auto_class, file=file, rows=handle.rows)


def _of_run(run: RunDirectory) -> dict[str, Any]:
    """Fields of `Card` from the records of a run."""
    config = described_config(run)
    manifest = _mapping(
        read_json(run.parent_run.manifest) if run.parent_run.manifest.is_file() else {}
    )
    data, template = _mapping(manifest.get("data")), _mapping(manifest.get("template"))
    return {
        "method": config.method,
        "settings": _settings(config),
        "task": str(data.get("task", "")),
        "datasets": _on_hub(config),
        "examples": {name: data[name] for name in SPLITS if isinstance(data.get(name), int)},
        "template": str(template.get("id", "")),
        "training": TrainingRecord.read(run.training) if run.training.is_file() else None,
        "scores": tuple(load_evaluation(run, p.stem).record for p, _ in read_evaluations(run)),
        "forgetting": Forgetting.read(run.forgetting) if run.forgetting.is_file() else None,
        "versions": {name: str(one) for name, one in _mapping(manifest.get("versions")).items()},
    }


def _mapping(value: object) -> Mapping[str, Any]:
    """A mapping from an untrusted manifest; empty if it is not a mapping."""
    return value if isinstance(value, dict) else {}


def _settings(config: RunConfig) -> Mapping[str, Any]:
    """Settings that decide the result besides data and model, without unset ones."""
    own = config.method_config.model_dump(mode="json")
    loop = config.train.model_dump(mode="json", include=set(_LOOP))
    base = config.base_of(config.method)
    whole = {**own, **loop, "dtype": base.dtype, "quantisation": base.quantisation}
    given = {name: value for name, value in whole.items() if value not in (None, [], "")}
    return {**given, "seed": config.seed}


def _on_hub(config: RunConfig) -> tuple[str, ...]:
    """The data's Hub id, if it came from there."""
    source = config.data.source
    is_there = source and is_hub_id(source) and not Path(source).exists()
    return (source,) if is_there else ()
