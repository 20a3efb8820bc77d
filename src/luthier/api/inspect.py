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
    """The trained parameters of ``config.method`` and the tokens near a soft prompt's vectors.

    The vectors are those of the configuration's run if it is tuned, otherwise the initial ones.
    Nothing is trained or written.

    Args:
        config: the configuration: a `luthier.config.RunConfig`, the path of a YAML file or of a
            data file, or None for the defaults.
        overrides: changed settings by dotted key, such as ``{"train.epochs": 2}``.
        console: shows progress; None: a console on standard error.

    Raises:
        LuthierError: see `luthier.core.errors`.

    Example:
        >>> import luthier
        >>> found = luthier.inspect("task.yaml", {"method": "lora"})
        >>> sum(group.parameters for group in found.groups) > 0
        True
    """
    from luthier.context.prepare import prepare
    from luthier.workflows.inspection import inspect_method

    resolved, console = configure(config, overrides), console or Console()
    context = prepare(resolved, console)
    kind = f"tune-{resolved.method}"
    name = resolved.run_name(kind, context.dataset.task, context.model.id)
    return inspect_method(context, RunDirectory(resolved.output / name), console)
