"""The folder that `luthier push` uploads: a tuned model that loads on any machine, and its card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from luthier.config import RunConfig
from luthier.config.stored import stored_config
from luthier.context.manifest import check_template
from luthier.context.prepare import prepare_evaluation
from luthier.context.stored_prompting import StoredPrompting, check_prompting, read_prompting
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.core.files import read_json, read_text, write_atomically, write_json
from luthier.core.folders import new_folder
from luthier.core.names import listed, on_one_line
from luthier.core.places import find_place, own_places
from luthier.data.bundled import BUNDLED
from luthier.data.task_rows import task_called
from luthier.evaluation import load_evaluation
from luthier.models.adapter_folder import adapter_files, is_adapter_folder
from luthier.models.hub import needed_files
from luthier.models.load import ModelHandle, open_model, tokenizer_fingerprint
from luthier.models.weights import find_entry, read_index
from luthier.records.evaluation import TemplateStamp
from luthier.records.results import require_tuned_model, tuned_model
from luthier.records.run_directory import RunDirectory
from luthier.reports.card import OTHER_LICENCE, Card, Wording, render_card
from luthier.reports.card_code import WHOLE_MODEL, Base
from luthier.reports.content import read_evaluations
from luthier.tasks.bare import AS_IS
from luthier.tasks.load import load_template
from luthier.tasks.task import Task
from luthier.workflows.model_card import CARD, card_of

TASK, FIGURES = "task.yaml", "evaluation.json"
_CONFIGS = ("adapter_config.json", "config.json", "tokenizer_config.json")
_LOCAL = ("is_local", "local_files_only", "_name_or_path", "name_or_path")
"""Fields that transformers writes about the place from which it loaded something."""
_BASE_NAMES = ("base_model_name_or_path", "tokenizer_name_or_path", "base_model")
"""Fields of adapters that name the base model: peft's, and Luthier's own."""
_PRIVATE = ("files", "examples")
"""Fields of a task with local files, and with rows."""
_FIGURES = {
    "task", "split", "template", "shots", "chat_template", "metrics", "clean", "versions", "format",
    "version", "labels", "drawn", "cut_prompts", "truncated_outputs", "unfinished", "seed",
    "resamples",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Publication:
    """A folder that is ready for upload.

    Attributes:
        folder: the folder.
        files: the size of each of its files in bytes, by name.
    """

    folder: Path
    files: Mapping[str, int]


def write_publication(
    run: RunDirectory,
    repo: str,
    folder: Path,
    console: Console,
    *,
    base: str | None = None,
    example: bool = False,
    given: Mapping[str, Any] | None = None,
) -> Publication:
    """Write the folder with a run's model for the Hub: weights, card, task and figures.

    Args:
        run: a finished tune run.
        repo: the Hub id under which the model will be published.
        folder: the folder to write or replace.
        console: shows progress.
        base: the Hub id of the base model; None: the one that the run names.
        example: whether the card shows a training example.
        given: settings that a stored run may not decide, by dotted key.

    Raises:
        DataError: the run has no tuned model, or a file would name a place of this machine.
        UsageError: the base model of an adapter has no Hub id, the template has changed, or a
            setting that the run needs was not given.
    """
    model = _model_of(run)
    stored = read_prompting(run)
    needed = ("model",) if stored else ("model", "data.source", "prompt.template")
    config = stored_config(run, given, parts=needed)
    handle = open_model(config.base_of(config.method), console)
    tuned = open_model(handle.config.model_copy(update={"tokenizer": str(model)}), console)
    task = _trained_task(run, config, stored)
    card = card_of(run, tuned, model)
    card = replace(card, repo=repo, base=_public_base(card, base, run))
    has_tokenizer = card.form is WHOLE_MODEL or _differs(tuned, handle, card.base)
    shown = _example(run, config, given, console) if example else None
    card = _with_task(card, config, task, shown)
    with new_folder(folder) as partial:
        for name in _model_files(model, has_tokenizer=has_tokenizer):
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(model / name, partial / name)
            if name in _CONFIGS:
                write_json(partial / name, _public(_settings(partial / name), card.base))
        write_atomically(partial / CARD, render_card(replace(card, has_tokenizer=has_tokenizer)))
        write_atomically(partial / TASK, _task_file(task, with_rows=example))
        write_json(partial / FIGURES, _figures(run, card))
        _require_no_place(partial, run)
    return Publication(folder, _sizes(folder))


def _model_of(run: RunDirectory) -> Path:
    """The folder of a run's tuned model.

    Raises:
        DataError: there is none.
    """
    if (above := run.ladder_run) and tuned_model(run) is None:
        tuned = [str(rung.path) for rung in above.rungs() if rung.model.is_dir()]
        raise DataError(
            f"the rung {run.path.name} only prompts the base model, so there is nothing to publish",
            where=str(run.path),
            fix=f"name a tuned rung: {listed(tuned, 3, show=on_one_line)}" if tuned else "",
        )
    return require_tuned_model(run)


def _public_base(card: Card, given: str | None, run: RunDirectory) -> Base:
    """The base model by its Hub id.

    Raises:
        UsageError: an adapter's base has no Hub id, or one is given although the run names it.
    """
    base = replace(card.base, licence=card.base.licence or OTHER_LICENCE)
    if base.on_hub and given not in (None, base.name):
        raise UsageError(
            f"the base model is {base.name}, which the run itself names",
            where=str(run.path),
            fix="leave --base out",
        )
    if base.on_hub:
        return base
    if given:
        note = f"It was trained on a copy of the base model that its author calls {base.name}."
        if base.file:
            note += " That file may hold rounded weights: answers may differ slightly."
        return replace(base, name=given, on_hub=True, file="", note=note)
    if card.form is not WHOLE_MODEL:
        raise UsageError(
            f"the adapter's base model is the local folder or file {base.name}, which nobody else "
            "can load",
            where=str(run.path),
            fix="give its id on the Hub with --base owner/name (push it there first if it is your "
            f"own); or make a whole model with 'luthier merge {run.path}', and upload that folder",
        )
    return base


def _differs(tuned: ModelHandle, handle: ModelHandle, base: Base) -> bool:
    """Whether the tuned model's tokenizer or chat template may differ from the Hub's."""
    is_hubs = handle.folder.loads_as == base.name and handle.config.tokenizer is None
    same = tokenizer_fingerprint(tuned.tokenizer) == tokenizer_fingerprint(handle.tokenizer)
    return not (is_hubs and same)


def _trained_task(run: RunDirectory, config: RunConfig, stored: StoredPrompting | None) -> Task:
    """The task in the words that a run was trained on: the stored one, if the run has it.

    Raises:
        UsageError, DataError: it is missing, or has changed since.
    """
    if stored:
        check_prompting(run, stored, config.prompt)
        return stored.task
    task = _task_of(config)
    _require_same_words(run, config, task)
    return task


def _task_of(config: RunConfig) -> Task:
    """The task whose words a run was trained on; its rows are not read.

    Raises:
        UsageError, DataError: there is no such task.
    """
    source = config.data.source
    own = BUNDLED[source].template if source in BUNDLED else None
    if name := config.prompt.template or own:
        return load_template(name)
    return (None if source in BUNDLED else task_called(source)) or AS_IS


def _require_same_words(run: RunDirectory, config: RunConfig, task: Task) -> None:
    """Check that the task still has the words that the run was trained on.

    A chat template of the user's own is part of the run's fingerprint; the model keeps its text.

    Raises:
        UsageError: it has changed under the same name.
    """
    has_own = config.prompt.chat_template not in ("auto", "never")
    if has_own or config.prompt.chat_template_kwargs or not run.parent_run.manifest.is_file():
        return
    tuned = TemplateStamp.model_validate(read_json(run.parent_run.manifest)["template"])
    if task.stamp.hash != tuned.hash:
        raise UsageError(
            f"the template has changed since the tuning: {tuned.id} ({tuned.hash}) is now "
            f"{task.stamp.hash}, so the card would show other words",
            where=str(run.path),
            fix=f"undo the change in {config.prompt.template or config.data.source}",
        )


def _with_task(card: Card, config: RunConfig, task: Task, shown: tuple[str, str] | None) -> Card:
    """The card with the task's wording, and an example if one is to be shown."""
    system = config.prompt.system or task.system
    answer = task.snippets.get("completion", "")
    texts = {"system message": system, "question": task.prompt, "answer": answer}
    question = replace(
        card.question,
        text=task.stripped(task.prompt),
        max_new_tokens=config.evaluate.max_new_tokens or task.max_new_tokens,
        template_arguments=config.prompt.chat_template_kwargs,
    )
    if system and "{" not in system:
        question = replace(question, system=system)
    wording = Wording(
        {name: text for name, text in texts.items() if text}, task.about, task.label_words
    )
    return replace(card, wording=wording, question=question, example=shown)


def _example(
    run: RunDirectory, config: RunConfig, given: Mapping[str, Any] | None, console: Console
) -> tuple[str, str] | None:
    """The first training example as the model reads it, and its answer."""
    context = prepare_evaluation(stored_config(run, given), console)
    check_template(run, context, console)
    example = context.dataset.train[0]
    return context.renderer.prompt(example).text, next(iter(example.references), "")


def _model_files(model: Path, *, has_tokenizer: bool) -> tuple[str, ...]:
    """The names of a saved model's files, without any others in its folder."""
    names = [str(path.relative_to(model)) for path in model.rglob("*") if path.is_file()]
    if is_adapter_folder(model):
        return needed_files(names, None) if has_tokenizer else adapter_files(names)
    entry = find_entry(names, allow_pickle=False)
    shards = read_index(model / entry.name) if entry and entry.is_index else ()
    return needed_files(names, entry, shards, code=True)


def _settings(path: Path) -> dict[str, Any]:
    """The JSON object of a settings file.

    Raises:
        DataError: it is none.
    """
    found = json.loads(read_text(path))
    if not isinstance(found, dict):
        raise DataError("this is not a JSON object", where=str(path))
    return found


def _public(settings: Mapping[str, Any], base: Base) -> dict[str, Any]:
    """Settings that name the base model by its Hub id, and no place of this machine."""
    found = {name: value for name, value in settings.items() if name not in _LOCAL}
    for name in _BASE_NAMES:
        if found.get(name):
            found[name] = base.name
    if "base_model_name_or_path" in found:
        found["revision"] = base.revision or None
    return found


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, as people do."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = "|" if "\n" in data else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style)


_Dumper.add_representer(str, _Dumper.represent_str)


def _task_file(task: Task, *, with_rows: bool) -> str:
    """The task as YAML, without local files, and without rows unless they are to be shown."""
    left_out = {"files", "kind"} if with_rows else {*_PRIVATE, "kind"}
    values = task.model_dump(mode="json", exclude=left_out, exclude_defaults=True)
    values = {"kind": task.model_dump()["kind"], **values}
    text = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    stamp = task.stamp.hash
    return (
        f"# The task in the words that the model was trained on (fingerprint {stamp}).\n"
        f"# Ask rows of your own: luthier evaluate --model . --data rows.csv --template {TASK}\n"
        f"{text}"
    )


def _figures(run: RunDirectory, card: Card) -> dict[str, Any]:
    """All measured figures, as JSON."""
    records = (load_evaluation(run, path.stem).record for path, _ in read_evaluations(run))
    training, lost = card.training, card.forgetting
    return {
        "base_model": card.base.name,
        "base_model_revision": card.base.revision or None,
        "evaluations": [record.model_dump(mode="json", include=_FIGURES) for record in records],
        "ladder": [
            {"rung": way.name, "is_this_model": way.is_this, **way.result.model_dump(mode="json")}
            for way in card.ways
        ],
        "forgetting": lost.model_dump(mode="json", exclude={"text"}) if lost else None,
        "training": training.model_dump(mode="json") if training else None,
    }


def _require_no_place(folder: Path, run: RunDirectory) -> None:
    """Check the files that Luthier wrote for folders of this machine.

    Raises:
        DataError: one is named.
    """
    places = own_places(run.path)
    for name in (CARD, TASK, FIGURES, *_CONFIGS):
        if not (folder / name).is_file():
            continue
        if found := find_place(read_text(folder / name).splitlines(), places):
            line, place = found
            raise DataError(
                f"{name} would name a folder of this machine in its line {line}: {place}",
                where=str(run.path),
                fix="remove it from the task's texts; leave out --example if it is in a row",
            )


def _sizes(folder: Path) -> dict[str, int]:
    files: Sequence[Path] = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.stat().st_size for path in files}
