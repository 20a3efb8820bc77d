"""The configuration of a stage, from a file, a run or values by dotted key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from luthier.config import RunConfig, load_config
from luthier.config.load import override
from luthier.config.stored import save_config, stored_config
from luthier.records.run_directory import RunDirectory
from luthier.tasks.given import is_task_file
from luthier.tasks.load import load_task
from luthier.tasks.mixture import mixture_called

Configuration = RunConfig | Path | str | None
_DATA, _TEMPLATE = "data.source", "prompt.template"
Overrides = Mapping[str, Any] | None


def configure(config: Configuration = None, overrides: Overrides = None) -> RunConfig:
    """The configuration with changed settings.

    Raises:
        UsageError: an unknown key or an invalid value.
    """
    if isinstance(config, RunConfig):
        return override(config, overrides or {})
    return load_given(Path(config) if config else None, flags=overrides)


def load_given(
    path: Path | None, settings: Sequence[str] = (), flags: Overrides = None
) -> RunConfig:
    """The configuration of a YAML file, which may be a task or a mixture instead.

    A task is the data of the run, or the template of other data that is named; a mixture is data.

    Args:
        path: the file; None: the defaults.
        settings: ``section.key=value`` texts, which take precedence over the file.
        flags: values by dotted key; None means not given. They take precedence over everything.

    Raises:
        UsageError: an unknown key or an invalid value, or the file mixes a task and a
            configuration.
        DataError: the task is not valid.
    """
    if path is None or not is_task_file(path):
        return load_config(path, settings, flags)
    if mixture_called(str(path)):
        return load_config(None, [f"{_DATA}={path}", *settings], flags)
    load_task(str(path))  # validates it
    keys = {text.partition("=")[0].strip() for text in settings}
    has_data = _DATA in keys or (flags or {}).get(_DATA) is not None
    place = _TEMPLATE if has_data else _DATA
    return load_config(None, [f"{place}={path}", *settings], flags)


def configure_for(
    run: RunDirectory | None, config: Configuration = None, overrides: Overrides = None
) -> RunConfig:
    """The given configuration, otherwise that of the run as far as it is trusted.

    Raises:
        UsageError: an unknown key or an invalid value, or a setting that the run needs was not
            given.
    """
    if run is None or not (config is None or _is_of(run, config)):
        return configure(config, overrides)
    return stored_config(run, overrides)


def _is_of(run: RunDirectory, config: RunConfig | Path | str) -> bool:
    """Whether a configuration is the run's own stored file."""
    return not isinstance(config, RunConfig) and Path(config).resolve() == run.config.resolve()


def open_run(config: RunConfig, kind: str, task: str, model: str) -> RunDirectory:
    """The run directory with the name from `RunConfig.run_name`, created if missing."""
    return RunDirectory.create(config.output, config.run_name(kind, task, model))


def save_run_config(run: RunDirectory, config: RunConfig) -> None:
    """Store the resolved configuration, so that running it again continues this run."""
    save_config(run, config.model_copy(update={"name": run.name}))
