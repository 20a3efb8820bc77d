"""Settings that a stored run may not decide: those that run code, send data or read elsewhere.

Each such setting is marked at its field. A test compares all other fields with a list of harmless
ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel

from luthier.core.choices import BUNDLED_DATA, BUNDLED_MODELS

Location = tuple[str, ...]


def _never(_value: Any) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Permission:
    """The mark of a setting that can do harm.

    Attributes:
        does: the sentence after the setting that describes its effect.
        asks: whether a value has this effect; a field's default never does.
        always: whether it must be given again even for a run that this user made on this machine.
    """

    does: str
    asks: Callable[[Any], bool]
    always: Callable[[Any], bool] = _never


def is_server(name: Any) -> bool:
    """Whether a model is given as the URL of a server."""
    return isinstance(name, str) and name.lower().startswith(("http://", "https://"))


def _is_set(value: Any) -> bool:
    return bool(value)


def _is_model(name: str | None) -> bool:
    return name is not None and name.lower() not in BUNDLED_MODELS


def _is_source(name: str | None) -> bool:
    return name is not None and name not in BUNDLED_DATA


def _is_file(name: str | None) -> bool:
    return name is not None and name.endswith((".yaml", ".yml", ".jinja", ".jinja2", ".j2"))


def _has_file(names: tuple[str, ...]) -> bool:
    return any(_is_file(name) for name in names)


def _sends(trackers: tuple[str, ...]) -> bool:
    return any(name != "tensorboard" for name in trackers)


RUNS_CODE = Permission("it runs Python code from the model's repository", _is_set, always=_is_set)
OPENS_PICKLE = Permission("it opens pickle files, which can run code", _is_set, always=_is_set)
SENDS_KEY = Permission(
    "it sends the key in this environment variable to a server", _is_set, always=_is_set
)
NAMES_MODEL = Permission(
    "it loads a model from outside the run, or sends texts to a server",
    _is_model,
    always=is_server,
)
NAMES_REVISION = Permission("it chooses which version of a repository is loaded", _is_set)
NAMES_DATA = Permission("it reads a file or folder outside the run, or asks the Hub", _is_source)
NAMES_FILE = Permission("it reads a file outside the run", _is_file)
NAMES_FILES = Permission("it reads files outside the run", _has_file)
SENDS_NUMBERS = Permission(
    "it sends training metrics to services outside the run", _sends, always=_sends
)
REPLACED = Permission("", _never)
"""The run's location is known from its path; the stored one is ignored."""


def permissions(model: type[BaseModel], at: Location = ()) -> Iterator[tuple[Location, Permission]]:
    """Every marked field of a configuration with its location."""
    for location, field in fields_of(model, at):
        for mark in field.metadata:
            if isinstance(mark, Permission):
                yield location, mark


def fields_of(model: type[BaseModel], at: Location = ()) -> Iterator[tuple[Location, Any]]:
    """Every field of a configuration that is not a section, with its location in the YAML."""
    for name, field in model.model_fields.items():
        place = (*at, field.alias or name)
        parts = [part for part in (field.annotation, *get_args(field.annotation)) if _is_part(part)]
        for part in parts:
            yield from fields_of(part, place)
        if not parts:
            yield place, field


def _is_part(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
