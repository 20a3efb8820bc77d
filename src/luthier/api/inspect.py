"""Look at a tuning method: `luthier inspect`."""

from __future__ import annotations

from luthier.api.configuration import (
    Configuration,
    Overrides,
    configure,
)
from luthier.core.console import Console
from luthier.records.inspection import Inspection
from luthier.records.run_directory import RunDirectory


def inspect(
    config: Configuration = None, overrides: Overrides = None, console: Console | None = None
) -> Inspection:
    """What ``config.method`` trains and, for a soft prompt, the words near its vectors.

    The vectors are those of the configuration's run where it is tuned, else those with which its
    training would start. Nothing is trained, and nothing is written.

    Raises:
        LuthierError: see `luthier.core.errors`.
    """
    from luthier.context.prepare import prepare
    from luthier.workflows.inspection import inspect_method

    resolved, console = configure(config, overrides), console or Console()
    setup = prepare(resolved, console)
    kind = f"tune-{resolved.method}"
    name = resolved.run_name(kind, setup.dataset.task, setup.model.id)
    return inspect_method(setup, RunDirectory(resolved.output / name), console)
