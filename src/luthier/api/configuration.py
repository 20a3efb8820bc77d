"""The configuration of a stage, from a file, a run or values by dotted key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luthier.config import RunConfig, load_config
from luthier.config.load import override
from luthier.config.stored import save_config, stored_config
from luthier.records.run_directory import RunDirectory

Configuration = RunConfig | Path | str | None
Overrides = Mapping[str, Any] | None


def configure(config: Configuration = None, overrides: Overrides = None) -> RunConfig:
    """The configuration with changed settings.

    Raises:
        UsageError: an unknown key or an invalid value.
    """
    if isinstance(config, RunConfig):
        return override(config, overrides or {})
    return load_config(Path(config) if config else None, flags=overrides)


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
