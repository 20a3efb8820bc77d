"""Tune with one method: `luthier tune`."""

from __future__ import annotations

from contextlib import nullcontext

from luthier.api.configuration import (
    Configuration,
    Overrides,
    configure,
    open_run,
    save_run_config,
)
from luthier.api.interruption import continued_by_resume
from luthier.api.results import TuneResult
from luthier.config import RunConfig
from luthier.core.console import Console
from luthier.records.run_lock import writing


def tune(
    config: Configuration = None, overrides: Overrides = None, console: Console | None = None
) -> TuneResult:
    """Tune with ``config.method``, or continue an interrupted training.

    Args:
        config: the configuration: a `luthier.config.RunConfig`, the path of a YAML file or of a
            data file, or None for the defaults.
        overrides: changed settings by dotted key, such as ``{"train.epochs": 2}``.
        console: shows progress; None: a console on standard error.

    Returns:
        The run directory, the record of the training, and the report.

    Raises:
        LuthierError: see `luthier.core.errors`.

    Example:
        >>> import luthier
        >>> result = luthier.tune("task.yaml", {"method": "lora", "train.epochs": 1})
        >>> result.is_finished
        True
    """
    resolved = configure(config, overrides)
    return tune_until(resolved, resolved.train.max_time, console)


def tune_until(
    config: RunConfig, max_time: float | None, console: Console | None = None
) -> TuneResult:
    """As `tune`, with a time limit that the stored configuration does not have.

    Args:
        config: the resolved configuration, which is stored in the run.
        max_time: seconds of training in total, earlier sessions included; None: no limit.
        console: shows progress.

    Raises:
        LuthierError: see `luthier.core.errors`.
    """
    from luthier.api.report import verified_report
    from luthier.context.base_model import BaseModel
    from luthier.context.long_tests import asking, long_tests, warn_of_long_tests
    from luthier.context.manifest import write_manifest
    from luthier.context.prepare import prepare
    from luthier.context.stored_prompting import store_prompting
    from luthier.distributed.process_group import joined_process_group
    from luthier.workflows.tune import tuned_model

    with joined_process_group() as processes:
        console = (console or Console()) if processes.is_first else Console(quiet=True)
        context = prepare(config, console)
        long = long_tests(context, asking(context, config.prompt.shots, config.method))
        warn_of_long_tests(context.dataset, long, console)
        kind = f"tune-{config.method}"
        run = open_run(config, kind, context.dataset.task, context.model.id)
        locked = writing(run, console) if processes.is_first else nullcontext()
        with continued_by_resume(run), locked:
            if processes.is_first:
                write_manifest(run, context, "tune")
                save_run_config(run, context.config)
                store_prompting(run, context, config.prompt.shots)
            base = BaseModel(context.weights())
            _, training = tuned_model(
                context, config.method, base, run, max_time, console, processes
            )
            report = verified_report(run, console) if processes.is_first else run.report_html
            return TuneResult(run, training, report)
