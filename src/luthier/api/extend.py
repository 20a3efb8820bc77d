"""Extend a training: `luthier extend`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.api.results import TuneResult
from luthier.api.resume import kind_of, session_limit
from luthier.api.tune import tune_until
from luthier.config import RunConfig
from luthier.config.load import override
from luthier.config.stored import grants, stored_config
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.files import read_lines, write_lines
from luthier.records.run_directory import RunDirectory
from luthier.records.run_lock import writing
from luthier.records.training import Extension

if TYPE_CHECKING:
    from luthier.context.run_context import RunContext
    from luthier.data.batches import ExampleOrder

from luthier.api.configuration import Overrides, configure


def extend(
    run: str | Path,
    epochs: float | None = None,
    learning_rate: float | None = None,
    console: Console | None = None,
    *,
    steps: int | None = None,
    max_time: str | float | None = None,
    overrides: Overrides = None,
) -> TuneResult:
    """Continue a training, finished or not, with more epochs or steps.

    The learning rate schedule becomes that of a training over the new total, entered at the current
    step. If that step is within the warm-up, the learning rate rises again. A time limit is granted
    again, as by `resume`. ``extensions.jsonl`` and ``training.json`` record the change.

    Args:
        run: the run directory.
        epochs: additional epochs. If ``train.max_steps`` is set, it is raised by the same number of
            steps.
        learning_rate: the new peak learning rate; None: unchanged.
        console: shows progress.
        steps: additional optimizer steps, instead of epochs; ``train.max_steps`` is set from then
            on.
        max_time: as in `resume`.
        overrides: as in `resume`.

    Raises:
        UsageError: the run is not a tune run, its inputs have changed, or a value is out of range.
        DataError: ``run`` is not a run directory, or its checkpoints are gone.

    Example:
        >>> import luthier
        >>> result = luthier.extend("runs/tuned", steps=1)
        >>> result.training.extensions[-1].max_steps == result.training.planned_steps
        True
    """
    from luthier.checkpoint import newest_step
    from luthier.context.manifest import check_manifest
    from luthier.context.prepare import prepare
    from luthier.context.training_data import training_data

    opened, console = RunDirectory.open(Path(run)), console or Console()
    if (kind := kind_of(opened)) != "tune":
        raise UsageError(
            f"only a tune run can be extended; this one is of the kind {kind!r}",
            where=str(opened.path),
            fix="tune with the wanted method, and extend that run",
        )
    _require_one(epochs, steps)
    if (step := newest_step(opened.checkpoints)) is None:
        raise UsageError(
            "this run has no checkpoint to continue from",
            where=str(opened.checkpoints),
            fix="tune again, with train.epochs or train.max_steps set to the new total",
        )
    config = stored_config(opened, grants(overrides or {}))
    if max_time is not None:
        config = override(config, {"train.max_time": max_time})
    context = prepare(config, console)
    check_manifest(opened, context)
    with writing(opened, console):
        order = training_data(context, config.method).order(config)
        longer = _with_more(config, order, epochs, steps)
        if learning_rate is not None:
            rate = {f"methods.{config.method}.learning_rate": learning_rate}
            longer = configure(longer, rate)
        _note_extension(opened, context, longer, order, step)
        limit = session_limit(opened, longer.train.max_time)
        return tune_until(longer, limit, console)


def _require_one(epochs: float | None, steps: int | None) -> None:
    if (epochs is None) == (steps is None):
        raise UsageError("extend needs either epochs or steps", fix="give one of them")
    for count, called in ((epochs, "epochs"), (steps, "steps")):
        if count is not None and count <= 0:
            raise UsageError(f"{count} {called} cannot be added", fix="give a number above 0")


def _with_more(
    config: RunConfig, order: ExampleOrder, epochs: float | None, steps: int | None
) -> RunConfig:
    """The configuration with more epochs or steps, one of which is None."""
    from luthier.training.schedule import planned_epochs, total_steps

    if epochs is not None and config.train.max_steps is None:
        own = config.method_config.epochs is not None
        key = f"methods.{config.method}.epochs" if own else "train.epochs"
        planned = planned_epochs(order, config.train, config.method_config)
        return configure(config, {key: planned + epochs})
    more = steps if epochs is None else order.total_steps(epochs)
    before = total_steps(order, config.train, config.method_config)
    return configure(config, {"train.max_steps": before + (more or 0)})


def _note_extension(
    run: RunDirectory, context: RunContext, changed: RunConfig, order: ExampleOrder, step: int
) -> None:
    """Allow the run to continue from its checkpoints under the changed configuration."""
    from luthier.context.fingerprints import training_fingerprint
    from luthier.training.schedule import planned_epochs

    before = context.config
    extension = Extension(
        step=step,
        epochs_before=planned_epochs(order, before.train, before.method_config),
        epochs=planned_epochs(order, changed.train, changed.method_config),
        max_steps_before=before.train.max_steps,
        max_steps=changed.train.max_steps,
        learning_rate_before=before.method_config.learning_rate,
        learning_rate=changed.method_config.learning_rate,
        max_time=changed.train.max_time,
        extends=training_fingerprint(context, before.method),
        fingerprint=training_fingerprint(
            dataclasses.replace(context, config=changed), before.method
        ),
    )
    lines = [*read_lines(run.extensions), extension.model_dump(mode="json")]
    write_lines(run.extensions, lines)
