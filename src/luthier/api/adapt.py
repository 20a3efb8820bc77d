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
from luthier.api.results import AdaptResult
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
    """
    from luthier.api.report import verified_report
    from luthier.context.manifest import write_manifest
    from luthier.context.prepare import prepare
    from luthier.evaluation.settings import require_reach
    from luthier.ladder.checks import check_ladder, without_tests_too_long_for_a_rung
    from luthier.ladder.run import run_ladder
    from luthier.ladder.rungs import with_baselines

    resolved, console = configure(config, overrides), console or Console()
    require_reach(resolved.evaluate, "ladder")
    context = prepare(resolved, console)
    context = replace(context, config=with_baselines(context.config, context.dataset))
    context = without_tests_too_long_for_a_rung(context, console)
    check_ladder(context)
    run = open_run(resolved, "adapt", context.dataset.task, context.model.id)
    with writing(run, console):
        write_manifest(run, context, "adapt")
        save_run_config(run, context.config)
        ladder = run_ladder(context, run, console)
        return AdaptResult(run, ladder, verified_report(run, console))
