"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from luthier.cli.flags import WholeOrNone
from luthier.cli.groups import MODEL_AND_DATA, RUN
from luthier.config import RunConfig
from luthier.config.yaml import parse_scalar
from luthier.core.errors import UsageError
from luthier.core.names import listed

_OF_THE_RUN = Parameter(group=RUN)


@Parameter(name="*", group=MODEL_AND_DATA)
@dataclass(frozen=True)
class CommonOptions:
    """The model, the data and the run."""

    model: str | None = None
    "A bundled name, a Hub id, a folder, a .gguf file, or the URL of a server."
    model_name: str | None = None
    "The model's name on the server, if it has several."
    data: str | None = None
    "A bundled task, a benchmark task, a file, a folder, or a Hub id."
    template: str | None = None
    "A template of the library, or a YAML file."
    name: Annotated[str | None, _OF_THE_RUN] = None
    "The name of the run."
    output: Annotated[str | None, _OF_THE_RUN] = None
    "The folder for runs."
    seed: Annotated[WholeOrNone, _OF_THE_RUN] = None
    "The seed of all random draws."

    def flags(self) -> dict[str, Any]:
        """The values by dotted key of the configuration; None if not given."""
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
        """Whether any option is given."""
        return any(value is not None for value in self.flags().values())


CONFIGURATIONS = (".yaml", ".yml")
"""Suffixes of configuration files."""


def read_configuration(
    arguments: tuple[str, ...], common: CommonOptions | None, **flags: Any
) -> RunConfig:
    """The configuration from a command line.

    Args:
        arguments: at most one YAML file, one source of data, and any number of
            ``section.key=value`` settings.
        common: the shared options.
        flags: further values; ``__`` stands for the dot in a key.

    Raises:
        UsageError: several files, a file that is not a configuration, an unknown key, or an invalid
            value.
    """
    named = [text for text in arguments if "=" not in text]
    overrides = [text for text in arguments if "=" in text]
    files = [text for text in named if text.endswith(CONFIGURATIONS)]
    values = common.flags() if common else {}
    values |= {key.replace("__", "."): value for key, value in flags.items()}
    sources = [values["data.source"]] if values.get("data.source") is not None else []
    sources += [_require_data(text) for text in named if text not in files]
    for kind, found in (("configuration", files), ("source of data", sources)):
        if len(found) > 1:
            raise UsageError(
                f"only one {kind} is allowed, not {len(found)}: {listed(found)}",
                fix="give one YAML file, one source of data, and single values as "
                "section.key=value",
            )
    for file in files:
        if not Path(file).is_file():
            raise UsageError("the file does not exist", where=file, fix=_FIX)
    values |= {"data.source": next(iter(sources), None)}
    from luthier.api.configuration import load_given

    return load_given(Path(files[0]) if files else None, overrides, values)


def read_settings(arguments: Sequence[str]) -> dict[str, Any]:
    """Single settings from a command line, by dotted key.

    Raises:
        UsageError: an argument is not a setting.
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


_FIX = (
    "give a .yaml file or a data file, a model with --model, Hub data with --data, and "
    "single settings as section.key=value"
)


def names_of(text: str) -> tuple[str, ...]:
    """The names in a list separated by commas."""
    return tuple(name.strip() for name in text.split(","))


def is_data(name: str) -> bool:
    """Whether a name has a suffix of data files."""
    from luthier.data.readers import reader_of

    return reader_of(Path(name)) is not None


def _require_data(name: str) -> str:
    """The name of a data file or folder, given in place of a configuration.

    Raises:
        UsageError: it is neither data nor a configuration.
    """
    path = Path(name)
    if (path / "config.yaml").is_file():
        problem = "this is a run, not a configuration or data"
        fix = f"continue it with 'luthier resume {name}', or give its {path / 'config.yaml'}"
    elif (path / "config.json").is_file():
        problem, fix = "this is a model", f"give it with --model {name}"
    elif path.is_dir() or is_data(name):
        return name
    else:
        problem = "this is neither a YAML configuration nor data"
        fix = _FIX
    raise UsageError(problem, where=name, fix=fix)
