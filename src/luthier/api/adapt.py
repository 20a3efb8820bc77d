"""Climb the ladder: `luthier adapt`."""

from __future__ import annotations

from dataclasses import replace

from luthier.api.configuration import (
    Configuration,
    Overrides,
    configure,
    open_run,
    save_run_config,
)
from luthier.api.interruption import continued_by_resume
from luthier.api.results import AdaptResult
from luthier.config import RunConfig
from luthier.core.console import Console
from luthier.records.run_lock import writing


def adapt(
    config: Configuration = None, overrides: Overrides = None, console: Console | None = None
) -> AdaptResult:
    """Climb the ladder, or continue an interrupted one.

    Args:
        config: the configuration: a `luthier.config.RunConfig`, the path of a YAML file or of a
            data file, or None for the defaults.
        overrides: changed settings by dotted key, such as ``{"train.epochs": 2}``.
        console: shows progress; None: a console on standard error.

    Returns:
        The run directory, the table of rungs with the recommendation, and the report.

    Raises:
        LuthierError: a user error; see `luthier.core.errors`.

    Example:
        >>> import luthier
        >>> result = luthier.adapt("task.yaml", {"adapt.rungs": ["zero-shot", "few-shot"]})
        >>> result.to_pandas()["rung"].tolist()
        ['zero-shot', 'few-shot']
    """
    resolved = configure(config, overrides)
    return adapt_until(resolved, resolved.train.max_time, console)


def adapt_until(
    config: RunConfig, max_time: float | None, console: Console | None = None
) -> AdaptResult:
    """As `adapt`, with a time limit that the stored configuration does not have.

    Args:
        config: the resolved configuration, which is stored in the run.
        max_time: seconds of each training in total, earlier sessions included; None: no limit.
        console: shows progress.

    Raises:
        LuthierError: see `luthier.core.errors`.
    """
    from luthier.api.report import verified_report
    from luthier.context.manifest import write_manifest
    from luthier.context.prepare import prepare
    from luthier.evaluation.settings import require_reach
    from luthier.ladder.checks import check_ladder, without_tests_too_long_for_a_rung
    from luthier.ladder.run import run_ladder
    from luthier.ladder.rungs import with_baselines

    console = console or Console()
    require_reach(config.evaluate, "ladder")
    context = prepare(config, console)
    context = replace(context, config=with_baselines(context.config, context.dataset))
    context = without_tests_too_long_for_a_rung(context, console)
    check_ladder(context)
    run = open_run(config, "adapt", context.dataset.task, context.model.id)
    with continued_by_resume(run), writing(run, console):
        write_manifest(run, context, "adapt")
        save_run_config(run, context.config)
        train = context.config.train.model_copy(update={"max_time": max_time})
        limited = context.config.model_copy(update={"train": train})
        ladder = run_ladder(replace(context, config=limited), run, console)
        return AdaptResult(run, ladder, verified_report(run, console))
