"""``luthier runs``."""

from __future__ import annotations

from pathlib import Path

from luthier.cli.flags import Json
from luthier.cli.output import print_json, print_result

_START = "Start one: luthier adapt"


def runs(output: Path = Path("runs"), *, json: Json = False) -> None:
    """List the runs in a folder, newest first.

    Args:
        output: The folder for runs.
    """
    from luthier.reports import collect_runs, runs_table

    found = collect_runs(output)
    if json:
        print_json(
            [
                {
                    "name": run.name,
                    "kind": run.kind,
                    "model": run.model,
                    "task": run.task,
                    "status": run.status,
                    "result": run.result,
                    "created": run.created.isoformat(),
                    "path": str(run.path),
                    "as_stored": list(run.as_stored),
                }
                for run in found
            ]
        )
    elif found:
        print_result(runs_table(found))
    elif output.is_dir():
        print_result(f"No runs in {output}.", _START)
    else:
        print_result(f"No runs: there is no folder {output}.", _START)
