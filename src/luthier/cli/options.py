"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclopts import Parameter

from luthier.cli.flags import WholeOrNone
from luthier.config import RunConfig, load_config
from luthier.config.yaml import parse_scalar
from luthier.core.errors import UsageError


@Parameter(name="*")
@dataclass(frozen=True)
class CommonOptions:
    """What to work on, and where."""

    model: str | None = None
    "A bundled name, a Hub id, a folder, a .gguf file, or the URL of a server."
    model_name: str | None = None
    "What the server calls the model, where it has several."
    data: str | None = None
    "A bundled task, a file, a folder, or a Hub id."
    template: str | None = None
    "A template of the library, or a YAML file."
    name: str | None = None
    "The name of the run."
    output: str | None = None
    "The folder for runs."
    seed: WholeOrNone = None
    "The seed of all random draws."

    def flags(self) -> dict[str, Any]:
        """The values by dotted key of the configuration; None where not given."""
        return {
            "model.id": self.model,
            "model.endpoint.name": self.model_name,
            "data.source": self.data,
            "prompt.template": self.template,
            "name": self.name,
            "output": self.output,
            "seed": self.seed,
        }

    @property
    def given(self) -> bool:
        """Whether there is any."""
        return any(value is not None for value in self.flags().values())


CONFIGURATIONS = (".yaml", ".yml")
"""How configuration files end."""


def read_configuration(
    arguments: tuple[str, ...], common: CommonOptions | None, **flags: Any
) -> RunConfig:
    """The configuration from a command line.

    Args:
        arguments: at most one YAML file, and any number of ``section.key=value``.
        common: the shared options.
        flags: further values; ``__`` stands for the dot of a key.

    Raises:
        UsageError: two files, one that is no configuration, an unknown key, or a wrong value.
    """
    files = [text for text in arguments if "=" not in text]
    overrides = [text for text in arguments if "=" in text]
    if len(files) > 1:
        raise UsageError(
            f"one configuration file is enough, not {len(files)}: {', '.join(files)}",
            fix="give one YAML file, and single values as section.key=value",
        )
    for file in files:
        _require_configuration(Path(file))
    values = common.flags() if common else {}
    values |= {key.replace("__", "."): value for key, value in flags.items()}
    return load_config(Path(files[0]) if files else None, overrides, values)


def read_settings(arguments: Sequence[str]) -> dict[str, Any]:
    """Single settings from a command line, by dotted key.

    Raises:
        UsageError: one of them is none.
    """
    settings = {}
    for text in arguments:
        key, separator, value = text.partition("=")
        if not separator or not key.strip():
            raise UsageError(
                f"{text!r} is not a setting",
                fix="write section.key=value, such as model.trust_remote_code=true",
            )
        settings[key.strip()] = parse_scalar(value)
    return settings


def _require_configuration(path: Path) -> None:
    if path.suffix not in CONFIGURATIONS or not path.is_file():
        is_missing = path.suffix in CONFIGURATIONS
        raise UsageError(
            "the file does not exist" if is_missing else "this is no YAML configuration",
            where=str(path),
            fix="give a .yaml file, data with --data, a model with --model, "
            "and single settings as section.key=value",
        )
