"""A check that a task measures no rows that a run was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from luthier.config import RunConfig
from luthier.config.stored import stored_config
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.data.identity import normalised_text
from luthier.data.mixture.load import load_data
from luthier.data.near_duplicates import compared_text
from luthier.data.splits import SPLITS
from luthier.data.task_rows import has_whole_file
from luthier.evaluation.asking.prepared import PreparedTask
from luthier.records.run_directory import RunDirectory


def require_unseen(
    run: RunDirectory,
    prepared: Sequence[PreparedTask],
    config: RunConfig,
    given: Mapping[str, Any],
    console: Console,
) -> None:
    """Check that rows held out of a task's only file did not train a run.

    A run and a task divide a file alike with the same seed and the default shares; with other
    settings the rows that one holds out may be those that the other trains on.

    Args:
        run: a run with a tuned model.
        prepared: the tasks to measure.
        config: the configuration of the command.
        given: the settings that the user gives for the stored run.
        console: shows a warning if the training data of the run cannot be read.

    Raises:
        UsageError: rows to measure were trained on.
    """
    divided = [one for one in prepared if has_whole_file(one.task) and one.split in SPLITS[1:]]
    if not divided:
        return
    try:
        stored = stored_config(run, given, alike=config, parts=("data", "prompt"))
        dataset = load_data(stored.data, stored.prompt, stored.seed, Console(quiet=True))
    except (DataError, UsageError) as error:
        console.warn(
            f"whether {run.path} was trained on the rows of {divided[0].task.name} cannot be "
            f"checked: {error.problem}"
        )
        return
    trained = {normalised_text(compared_text(example)) for example in dataset.train}
    for one in divided:
        asked = [normalised_text(compared_text(item.example(""))) for item in one.documents]
        if seen := sum(text in trained for text in asked):
            raise UsageError(
                f"{seen:,} of the {len(asked):,} rows of {one.task.name} to measure were trained "
                f"on: with seed={config.seed} and the default shares its file is not divided as "
                "for this run",
                where=str(run.path),
                fix=f"measure the rows that the run held out: 'luthier evaluate {run.path}'"
                + (f", or give seed={stored.seed}" if stored.seed != config.seed else ""),
            )
