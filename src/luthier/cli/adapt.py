"""``luthier adapt``."""

from __future__ import annotations

from rich.padding import Padding

from luthier.cli.dry_run import print_dry_run
from luthier.cli.flags import DryRun, Json
from luthier.cli.options import CommonOptions, names_of, read_configuration
from luthier.cli.output import print_json, print_result
from luthier.core.terminal import Text


def adapt(
    *arguments: str,
    common: CommonOptions | None = None,
    rungs: str | None = None,
    target: float | None = None,
    budget: str | None = None,
    memory: str | None = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Climb the ladder: try and measure every rung, and recommend the cheapest that is good enough.

    If interrupted, run the same command again to continue.

    Args:
        arguments: A YAML file or a file of data, and single settings as section.key=value.
        rungs: The rungs to try, separated by commas, cheapest first.
        target: The metric value that is good enough.
        budget: Time limit for all rungs, such as 30m.
        memory: Memory limit, such as 12GiB.
    """
    config = read_configuration(
        arguments,
        common,
        adapt__rungs=names_of(rungs) if rungs else None,
        adapt__target=target,
        adapt__budget=budget,
        adapt__memory=memory,
    )
    import luthier

    if dry_run:
        print_dry_run(luthier.dry_run(config, kind="adapt"), as_json=json)
        return
    result = luthier.adapt(config)
    if json:
        document = result.ladder.model_dump(mode="json")
        print_json({"run": str(result.run.path), "report": str(result.report), **document})
        return
    from luthier.reports import ladder_table
    from luthier.reports.headline import ladder_headline

    recommendation = result.ladder.recommendation
    reasons = "\n".join(f"– {reason}" for reason in recommendation.reasons)
    warnings = [f"warning: {warning}" for warning in recommendation.warnings]
    print_result(
        "",
        Text(ladder_headline(result.ladder), style="bold"),
        "",
        *warnings,
        *([""] if warnings else []),
        ladder_table(result.ladder),
        "",
        recommendation.sentence,
        Padding(reasons, (0, 0, 0, 2), expand=False),
        "",
        f"Report: {result.report}",
    )
