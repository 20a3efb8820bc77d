"""Settings that a stored run may not decide: those that run code, send something, or lead outside.

The mark of such a setting stands at its field; a test holds every other field against a list of
those that cannot do harm.
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
    """The mark of a setting that is more than a number or a word.

    Attributes:
        does: the sentence after the setting that says what would happen.
        asks: whether a value is one that would do it; the default of a field never is.
        always: whether it must be given again even where this user made the run on this machine.
    """

    does: str
    asks: Callable[[Any], bool]
    always: Callable[[Any], bool] = _never


def is_server(name: Any) -> bool:
    """Whether a model is named by the URL of a server."""
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


RUNS_CODE = Permission(
    "it runs Python code that lies beside the weights of a model", _is_set, always=_is_set
)
OPENS_PICKLE = Permission("it opens pickle files, which can run code", _is_set, always=_is_set)
SENDS_KEY = Permission(
    "it sends the key in this environment variable to a server", _is_set, always=_is_set
)
NAMES_MODEL = Permission(
    "it loads a model from a place outside of the run, or sends texts to a server",
    _is_model,
    always=is_server,
)
NAMES_REVISION = Permission("it chooses which version of a repository is loaded", _is_set)
NAMES_DATA = Permission("it reads a file or folder outside of the run, or asks the Hub", _is_source)
NAMES_FILE = Permission("it reads a file outside of the run", _is_file)
NAMES_FILES = Permission("it reads files outside of the run", _has_file)
SENDS_NUMBERS = Permission(
    "it hands the numbers of a training to services outside of the run", _sends, always=_sends
)
REPLACED = Permission("", _never)
"""Where a run is read from is where it is; what it says of that itself is not looked at."""


def permissions(model: type[BaseModel], at: Location = ()) -> Iterator[tuple[Location, Permission]]:
    """Every marked field of a configuration, with its place."""
    for location, field in fields_of(model, at):
        for mark in field.metadata:
            if isinstance(mark, Permission):
                yield location, mark


def fields_of(model: type[BaseModel], at: Location = ()) -> Iterator[tuple[Location, Any]]:
    """Every field of a configuration that is no section, with its place, as YAML writes it."""
    for name, field in model.model_fields.items():
        place = (*at, field.alias or name)
        parts = [part for part in (field.annotation, *get_args(field.annotation)) if _is_part(part)]
        for part in parts:
            yield from fields_of(part, place)
        if not parts:
            yield place, field


def _is_part(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
