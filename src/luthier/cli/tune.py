"""``luthier tune``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from luthier.cli.dry_run import print_dry_run
from luthier.cli.flags import DryRun, Json, Whole, one_of
from luthier.cli.options import CommonOptions, read_configuration
from luthier.cli.output import print_json, print_result
from luthier.core.method_facts import METHOD_NAMES
from luthier.core.units import counted, format_bytes, format_count, format_duration
from luthier.distributed.launch import end_with_parent, is_launched, run_together, speaks_for_all

if TYPE_CHECKING:
    from luthier.api.results import AdaptResult, TuneResult


def tune(
    *arguments: str,
    common: CommonOptions | None = None,
    method: Annotated[str | None, one_of(METHOD_NAMES)] = None,
    max_time: str | None = None,
    nproc: Annotated[Whole, Parameter(validator=Number(gte=1))] = 1,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Tune a model with one method.

    If interrupted, run the same command again to continue.

    Args:
        arguments: A YAML file or a file of data, and single settings as section.key=value.
        max_time: Save and stop after this much training, such as 2h.
        nproc: Processes that train together on this machine, one for each GPU.
    """
    config = read_configuration(arguments, common, method=method, train__max_time=max_time)
    import luthier

    if dry_run:
        print_dry_run(luthier.dry_run(config, kind="tune"), as_json=json)
        return
    if nproc > 1 and not is_launched():
        sys.exit(run_together(sys.argv[1:], nproc))
    if is_launched():
        end_with_parent()
    result = luthier.tune(config)
    if not speaks_for_all():
        return
    from luthier.api.results import STOPS

    training = result.training
    if json:
        document = {"run": str(result.run.path), "report": str(result.report)}
        print_json({**document, **training.model_dump(mode="json")})
        return
    validation = training.best_validation_loss
    best = "" if validation is None else f", validation loss {validation:.3f}"
    print_result(
        f"Tuned with {training.method}: {training.steps} of "
        f"{counted(training.planned_steps, 'step')}{STOPS[training.stopped]}, "
        f"loss {training.first_loss:.3f} → {training.last_loss:.3f}{best} "
        f"at step {training.best_step}.",
        f"  trained   {format_count(training.trained_parameters)} of "
        f"{format_count(training.total_parameters)} parameters on "
        f"{format_count(training.trained_tokens)} tokens",
        f"  took      {format_duration(training.seconds)}, "
        f"{format_bytes(training.peak_memory_bytes)} of memory at the peak",
        f"  model     {result.run.model} ({format_bytes(training.artifact_bytes)})",
        *(going_on(result) or [f"  next      luthier evaluate {result.run.path}"]),
    )


def going_on(result: TuneResult | AdaptResult) -> list[str]:
    """The command that continues a run whose training ran out of time, if it did."""
    return [] if result.is_finished else [f"  go on     {result.next_command}"]
