"""The model card of a saved model, from the records of its run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from luthier.config import RunConfig
from luthier.config.stored import described_config
from luthier.core.files import read_bytes, read_json, write_atomically
from luthier.data.splits import SPLITS
from luthier.evaluation import load_evaluation
from luthier.models.adapter_folder import is_adapter_folder, read_adapter
from luthier.models.bundled import BUNDLED_MODELS
from luthier.models.licence import licence_of
from luthier.models.load import ModelHandle
from luthier.models.resolve import is_hub_id
from luthier.records.forgetting import Forgetting
from luthier.records.ladder import LadderRecord
from luthier.records.run_directory import RunDirectory
from luthier.records.training import TrainingRecord
from luthier.reports.card import OURS, Card, Way, render_card
from luthier.reports.card_code import OWN_ADAPTER, PEFT_ADAPTER, WHOLE_MODEL, Base, Question
from luthier.reports.content import read_evaluations

CARD = "README.md"
# Settings of the training loop that decide the result.
_LOOP = ("optimizer", "schedule", "warmup_fraction", "max_grad_norm", "neftune_alpha")


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
    _write(run.model, card_of(run, handle, run.model))


def write_merged_card(folder: Path, run: RunDirectory | None, base: ModelHandle) -> None:
    """Write the card of a merged model.

    Args:
        folder: the folder of the model.
        run: the tune run of the adapter; None: unknown.
        base: the base model of the adapter.

    Raises:
        ResourceError: the folder is not writable.
    """
    _write(folder, replace(card_of(run, base, folder), merged=True))


def _write(folder: Path, card: Card) -> None:
    path = folder / CARD
    if not path.exists() or OURS.encode() in read_bytes(path):
        write_atomically(path, render_card(card))


def card_of(run: RunDirectory | None, handle: ModelHandle, folder: Path) -> Card:
    """The content of the card of a saved model.

    Args:
        run: its run; None: unknown.
        handle: the base model.
        folder: the folder of the saved model.
    """
    form = WHOLE_MODEL
    if is_adapter_folder(folder):
        form = PEFT_ADAPTER if read_adapter(folder).is_peft else OWN_ADAPTER
    question = Question(
        has_chat_template=handle.has_chat_template, writes_after_encoder=handle.is_encoder_decoder
    )
    known = _of_run(run) if run else {}
    base = _base(handle, is_adapter=form is not WHOLE_MODEL)
    return Card(form=form, base=base, question=question, **known)


def _base(handle: ModelHandle, *, is_adapter: bool = True) -> Base:
    """The base model, by a name that is valid on other machines."""
    name = handle.folder.loads_as
    known = Base(
        name,
        on_hub=True,
        auto_class=handle.auto_class.__name__,
        rows=handle.rows,
        licence=licence_of(handle.folder),
    )
    if bundled := BUNDLED_MODELS.get(name):
        note = (
            f"It was trained on {bundled.file} of the package {bundled.package}=="
            f"{bundled.version}, which Luthier calls {bundled.name}: a quantised copy of "
            f"{bundled.upstream}, whose weights are rounded."
        )
        if is_adapter:
            note += " The adapter loads on the Hub's weights too, and its answers may differ "
            note += "slightly there."
        return replace(known, name=bundled.upstream, note=note, luthier_name=bundled.name)
    if is_hub_id(name):
        return replace(known, revision=handle.folder.path.name)
    path = Path(name)
    file = path.name if path.suffix == ".gguf" else ""
    return replace(known, name=path.name, on_hub=False, file=file)


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
        "hardware": str(_mapping(manifest.get("hardware")).get("name", "")),
        "ways": tuple(_ways(run)),
    }


def _ways(run: RunDirectory) -> Iterator[Way]:
    """The measured rungs of the ladder that a run is a rung of."""
    if (above := run.ladder_run) is None:
        return
    ladder = LadderRecord.read(above.ladder)
    rungs = {rung.name: rung for rung in above.rungs()}
    for name in (rung.name for rung in ladder.rungs if rung.name in rungs):
        if rungs[name].evaluation(ladder.task).is_file():
            record = load_evaluation(rungs[name], ladder.task).record
            yield Way(name, record.metric(ladder.metric), is_this=name == run.path.resolve().name)


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
