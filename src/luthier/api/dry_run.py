"""Check a run without loading weights: `--dry-run`."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from luthier.api.configuration import (
    Configuration,
    Overrides,
    configure,
)
from luthier.api.results import DryRunResult
from luthier.core.console import Console
from luthier.records.run_directory import RunDirectory


def dry_run(
    config: Configuration = None,
    overrides: Overrides = None,
    console: Console | None = None,
    *,
    kind: Literal["adapt", "tune"] = "adapt",
) -> DryRunResult:
    """Run every check of adapt or tune that needs no weights.

    Args:
        config: the configuration.
        overrides: changed settings.
        console: shows progress.
        kind: ``adapt``: the methods of all rungs; ``tune``: the configured method.

    Raises:
        LuthierError: any error that the real run would raise before training.

    Example:
        >>> import luthier
        >>> found = luthier.dry_run("task.yaml", kind="tune")
        >>> found.methods[0].fits
        True
    """
    from luthier.context.long_tests import asking, long_tests, warn_of_long_tests
    from luthier.context.manifest import check_manifest
    from luthier.context.prepare import prepare
    from luthier.evaluation.settings import require_reach
    from luthier.ladder.checks import check_ladder, without_tests_too_long_for_a_rung
    from luthier.ladder.rungs import with_baselines
    from luthier.preflight.dry_run import check_tune, dry_run_of

    resolved, console = configure(config, overrides), console or Console()
    if kind == "adapt":
        require_reach(resolved.evaluate, "ladder")
    context = prepare(resolved, console)
    if kind == "adapt":
        context = replace(context, config=with_baselines(context.config, context.dataset))
        context = without_tests_too_long_for_a_rung(context, console)
    else:
        long = long_tests(context, asking(context, resolved.prompt.shots, resolved.method))
        warn_of_long_tests(context.dataset, long, console)
    checks = {"adapt": check_ladder, "tune": check_tune}
    checked = checks[kind](context)
    name = "adapt" if kind == "adapt" else f"tune-{resolved.method}"
    run = RunDirectory.check_writable(
        resolved.output, resolved.run_name(name, context.dataset.task, context.model.id)
    )
    check_manifest(run, context)
    return DryRunResult(**dict(dry_run_of(context, run, checked)))
