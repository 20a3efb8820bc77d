"""``luthier resume``."""

from __future__ import annotations

from pathlib import Path

from luthier.cli.flags import Json
from luthier.cli.options import read_settings
from luthier.cli.output import print_json, print_result


def resume(run: Path, /, *settings: str, json: Json = False) -> None:
    """Continue an interrupted tune or adapt run with its stored configuration.

    A finished run is not repeated. Relative paths in the configuration start from the working
    directory.

    Args:
        run: The run directory.
        settings: Settings that a stored run may not decide, such as model.trust_remote_code=true.
    """
    from luthier.api.resume import resume as go_on

    result = go_on(run, overrides=read_settings(settings))
    if json:
        print_json({"run": str(result.run.path), "report": str(result.report)})
    else:
        print_result(f"{result.run.path} is finished.", f"  report    {result.report}")
