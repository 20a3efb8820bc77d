"""Storage of how a run asks: its task, and its few-shot examples.

With these files a run answers new rows although its data is gone. They may come from somebody else:
they are read like all files of a run, and must match the fingerprint in the manifest.
"""

from __future__ import annotations

from typing import NamedTuple

from luthier.config import PromptConfig
from luthier.config.load import to_yaml
from luthier.context.answer_length import longest_answer
from luthier.context.answer_mode import drawn_shots
from luthier.context.run_context import RunContext, template_stamp
from luthier.core.errors import DataError
from luthier.core.files import read_json, read_text, write_atomically
from luthier.records.prompting import PromptingRecord
from luthier.records.run_directory import RunDirectory
from luthier.tasks.load import stored_task
from luthier.tasks.task import Task


class StoredPrompting(NamedTuple):
    """The task of a run, and the record of how it is asked."""

    task: Task
    record: PromptingRecord


def store_prompting(run: RunDirectory, context: RunContext, shots: int) -> None:
    """Write ``task.yaml`` and ``prompting.json`` into a run directory.

    Args:
        run: the run directory.
        context: data, prompts and settings of the run.
        shots: the number of few-shot examples before each question.

    Raises:
        DataError: there are too few training examples for the shots.
        ResourceError: the run directory is not writable.
    """
    # A stored run decides about no file outside it.
    task = context.dataset.template.model_copy(update={"files": (), "hub": None})
    drawn = drawn_shots(context, shots)
    write_atomically(run.task, to_yaml(task))
    record = PromptingRecord(
        template=context.template,
        format=context.dataset.format,
        chooses=context.chooses,
        max_new_tokens=longest_answer(context),
        shots=drawn.examples,
        stop=drawn.stop,
        chat_template=context.renderer.own_template or "",
    )
    record.write(run.prompting)


def read_prompting(run: RunDirectory) -> StoredPrompting | None:
    """The stored task and prompting of a run; None: an earlier version of Luthier made it.

    Raises:
        UsageError, DataError: a file is damaged, or was not written by this version of Luthier.
    """
    if not (run.task.is_file() and run.prompting.is_file()):
        return None
    task = stored_task(read_text(run.task), str(run.task))
    return StoredPrompting(task, PromptingRecord.read(run.prompting))


def check_prompting(run: RunDirectory, stored: StoredPrompting, prompt: PromptConfig) -> None:
    """Check that the stored task and chat template are those that the run was made with.

    Raises:
        DataError: they have other fingerprints than the record, or than the run's manifest.
    """
    manifest = run.parent_run.manifest
    made = {str(run.prompting): stored.record.template.hash}
    if manifest.is_file():
        made[str(manifest)] = _hash(read_json(manifest))
    found = template_stamp(stored.task, prompt, stored.record.chat_template or None)
    for where, expected in made.items():
        if found.hash != expected:
            raise DataError(
                f"the stored task has the fingerprint {found.hash}, but the run was made with "
                f"{expected}",
                where=f"{run.task}, {where}",
                fix="restore the run's files, or make the run again",
            )


def _hash(manifest: object) -> str:
    template = manifest.get("template") if isinstance(manifest, dict) else None
    return str(template.get("hash")) if isinstance(template, dict) else ""
