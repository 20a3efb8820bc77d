"""``luthier resume``."""

from __future__ import annotations

from pathlib import Path

from luthier.cli.flags import Json
from luthier.cli.options import read_settings
from luthier.cli.output import print_json, print_result
from luthier.cli.tune import going_on


def resume(run: Path, /, *settings: str, max_time: str | None = None, json: Json = False) -> None:
    """Continue an interrupted tune or adapt run with its stored configuration.

    A finished run is not repeated. A training that was stopped by its time limit goes on for the
    same time once more, or for --max-time. Relative paths in the configuration start from the
    working directory.

    Args:
        run: The run directory.
        settings: Settings that a stored run may not decide, such as model.trust_remote_code=true.
        max_time: The training time of this session and of later ones, such as 2h.
    """
    from luthier.api.resume import resume as go_on

    result = go_on(run, max_time=max_time, overrides=read_settings(settings))
    if json:
        document = {"run": str(result.run.path), "report": str(result.report)}
        print_json({**document, "finished": result.is_finished})
    else:
        print_result(result.sentence, f"  report    {result.report}", *going_on(result))
