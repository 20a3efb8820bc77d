"""Reading the configuration stored in a run, which may come from somebody else.

This is the only place that reads it. Settings that can do harm (see `luthier.config.permission`)
are ignored until the user gives them again. If this user made the run on this machine, locations of
models and data need not be repeated. Code, pickle, keys, servers and trackers must always be given
again.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from luthier.config.load import override, resolve_config, to_yaml
from luthier.config.permission import Location, Permission, permissions
from luthier.config.run import RunConfig
from luthier.config.yaml import Document, parse_yaml
from luthier.core.cache import cache_folder
from luthier.core.errors import ProblemList, UsageError
from luthier.core.files import read_bytes, write_atomically
from luthier.core.names import did_you_mean
from luthier.records.run_directory import RunDirectory

EVERYTHING = ("model", "data", "prompt", "train", "evaluate")
"""The sections with permissions; a command may need fewer."""
_PERMISSIONS = tuple(permissions(RunConfig))
_PLACE = ("name", "output")


def stored_config(
    run: RunDirectory,
    given: Mapping[str, Any] | None = None,
    *,
    alike: RunConfig | None = None,
    parts: Sequence[str] = EVERYTHING,
) -> RunConfig:
    """The configuration of a run, safe to act on, even if the run's folder was moved.

    Args:
        run: the run.
        given: values by dotted key given by the user; they replace the stored ones.
        alike: a configuration written by the user; stored settings with the same value count as
            given, and nothing is replaced.
        parts: the sections or single settings that are needed; permissions of others are reset to
            their defaults.

    Raises:
        UsageError: settings that must be given are missing (all listed), or it is invalid.
        DataError: it cannot be read.
    """
    given = given or {}
    content = read_bytes(run.config)
    document = _parsed(run.config, content)
    stored = resolve_config(document)
    own = _is_own(content)
    problems = ProblemList()
    for location, permission in _PERMISSIONS:
        value = _value(stored, location)
        asks = permission.always if own else permission.asks
        if not asks(value) or _is_given(location, given):
            continue
        if not _is_given(location, parts):
            stored = override(stored, {".".join(location): _value(RunConfig(), location)})
        elif alike is None or _value(alike, location) != value:
            problems.add(_not_given(location, permission, value, document, own))
    problems.raise_if_any()
    path = run.path.resolve()
    return override(stored, {**given, "name": path.name, "output": str(path.parent)})


def described_config(run: RunDirectory) -> RunConfig:
    """The configuration of a run for display or comparison, never to act on.

    No setting in it is trusted, so no code is run and no key is sent.

    Raises:
        UsageError, DataError: it is invalid or cannot be read.
    """
    stored = resolve_config(_parsed(run.config, read_bytes(run.config)))
    harmless = {"trust_remote_code": False, "allow_pickle": False}
    endpoint = stored.model.endpoint.model_copy(update={"api_key_env": None})
    model = stored.model.model_copy(update={**harmless, "endpoint": endpoint})
    return stored.model_copy(update={"model": model})


def save_config(run: RunDirectory, config: RunConfig) -> None:
    """Store the resolved configuration of a run, and record that this user wrote it here.

    Raises:
        ResourceError: it cannot be written.
    """
    text = to_yaml(config)
    write_atomically(run.config, text)
    mark = _mark(text.encode())
    with suppress(OSError):  # without the record, locations must be given again
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


def grants(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """``given``, if all keys are settings that a stored run may not decide.

    Raises:
        UsageError: a key would change the run itself.
    """
    known = {".".join(location) for location, _ in _PERMISSIONS} - {*_PLACE}
    for key in given:
        if key not in known:
            known_ones = ", ".join(sorted(known))
            raise UsageError(
                f"{key} cannot be changed here: a run continues with its stored settings",
                fix=did_you_mean(key, known, cutoff=0.8)
                or f"only these settings can be given: {known_ones}",
            )
    return given


def _not_given(
    location: Location, permission: Permission, value: Any, document: Document, own: bool
) -> UsageError:
    key = ".".join(location)
    whose = "it must be given again each time" if own else "others may have written it"
    typed = shlex.quote(f"{key}={_as_typed(value)}")
    return UsageError(
        f"this stored run sets {key}={_as_typed(value)}: {permission.does}. The stored value is "
        f"ignored; {whose}",
        where=f'{document.where(location)}, field "{key}"',
        fix=f"if you want that, add {typed} to the command",
    )


def _as_typed(value: Any) -> str:
    """A value in ``key=value`` spelling, in ASCII and on one line."""
    if isinstance(value, str) and value.isascii() and value.isprintable():
        return value
    return json.dumps(value)


def _parsed(path: Path, content: bytes) -> Document:
    try:
        return parse_yaml(content.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        raise UsageError(f"this file is not valid UTF-8: {error}", where=str(path)) from None


def _is_own(content: bytes) -> bool:
    return _mark(content).is_file()


def _mark(content: bytes) -> Path:
    """The file that marks a configuration as stored by this user; outside every run."""
    return cache_folder() / "written" / hashlib.sha256(content).hexdigest()


def _is_given(location: Location, given: Iterable[str]) -> bool:
    """Whether a setting or its section is given."""
    names = {".".join(location[:length]) for length in range(1, len(location) + 1)}
    return not names.isdisjoint(given)


def _value(config: Any, location: Location) -> Any:
    for name in location:
        config = getattr(config, name)
    return config
