"""Loading of a `RunConfig` from a YAML file and overrides; errors name their line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from luthier.config.base import Config, misspelt_first, suggested_key
from luthier.config.run import RunConfig
from luthier.config.yaml import Document, Location, parse_scalar, read_yaml
from luthier.core.errors import ProblemList, UsageError
from luthier.core.names import did_you_mean, listed, shortened

_BRANCHES = ("function-", "literal[", "tuple[", "constrained-")
_EXPECTED = "Input should be "
"""The start of pydantic's message about allowed values."""


def load_config(
    path: Path | None = None,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> RunConfig:
    """Load a configuration.

    Args:
        path: a YAML file; None for the defaults.
        overrides: ``section.key=value`` texts, which take precedence over the file.
        flags: values by dotted key; None means not given. They take precedence over everything.

    Raises:
        UsageError: unknown keys (with suggestions) or invalid values, all reported together.
    """
    document = read_yaml(path) if path else Document({}, {}, "the defaults")
    values = document.values
    places: dict[Location, str] = {}
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise UsageError(
                f"{text!r} is not a valid override",
                fix="write section.key=value, such as train.epochs=2",
            )
        _set(values, key.strip(), parse_scalar(value), text)
        places[tuple(key.strip().split("."))] = f"the override {text!r}"
    for key, value in (flags or {}).items():
        if value is not None:
            _set(values, key, value, key)
            places[tuple(key.split("."))] = f"the option for {key}"
    return resolve_config(Document(values, document._lines, document.source), places)


def resolve_config(document: Document, places: Mapping[Location, str] | None = None) -> RunConfig:
    """Validate a document.

    Args:
        document: the parsed values.
        places: origins of values that are not in the document's text.

    Raises:
        UsageError: one or all problems, each with its line.
    """
    try:
        return RunConfig.model_validate(document.values)
    except ValidationError as error:
        problems = ProblemList()
        items = misspelt_first(_one_for_each_value(error, document.values))
        problems.count(len(items[problems.limit :]))
        for item in items[: problems.limit]:
            location = _as_written(item["loc"], document.values)
            place = _origin(location, places or {}) or document.where(location)
            known = _known_keys(item["loc"][:-1])
            problems.add(_explain(item["type"], location, item["msg"], item["input"], place, known))
        problems.raise_if_any()
        raise AssertionError("pydantic reported no error") from error


def _origin(location: Location, places: Mapping[Location, str]) -> str:
    """The origin of a value: its own, its parent's, or those of its parts."""
    for length in range(len(location), 0, -1):
        if location[:length] in places:
            return places[location[:length]]
    parts = [
        place for key, place in places.items() if location and key[: len(location)] == location
    ]
    return " and ".join(parts)


def override(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """``config`` with some values changed, by dotted key.

    Raises:
        UsageError: an unknown key or an invalid value.
    """
    complete = config.model_dump(mode="json", by_alias=True)
    for key, value in values.items():
        _set(complete, key, value, key)
    return resolve_config(Document(complete, {}, "the overrides"))


def to_yaml(config: Config) -> str:
    """The complete configuration as YAML, in the order of the fields."""
    values = config.model_dump(mode="json", by_alias=True)
    return yaml.safe_dump(
        values, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )


def keys_named(name: str) -> list[str]:
    """The dotted keys of all settings called ``name``, such as ``train.epochs``, shortest first.

    Settings that several methods have are one key, such as ``methods.METHOD.learning_rate``.
    """
    found = [key for key in setting_keys() if key.rpartition(".")[2] == name]
    of_methods = [key for key in found if key.startswith("methods.")]
    if len(of_methods) > 1:
        found = [f"methods.METHOD.{name}", *(key for key in found if key not in of_methods)]
    return sorted(found, key=lambda key: key.count("."))


def setting_keys() -> list[str]:
    """The dotted keys of all settings, in the order of the configuration."""
    return list(_leaves(RunConfig))


def _leaves(part: Any, start: str = "") -> Iterator[str]:
    for name, annotation in _fields(part).items():
        key = f"{start}{name}"
        sections = [one for one in (annotation, *get_args(annotation)) if _fields(one)]
        if not sections:
            yield key
        for section in sections:
            yield from _leaves(section, f"{key}.")


def _set(values: dict[str, Any], key: str, value: Any, text: str) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        if values.get(parent) is None:  # absent, or an empty section
            values[parent] = {}
        child = values[parent]
        if not isinstance(child, dict):
            raise UsageError(
                f"{text!r}: {parent!r} is not a section", fix="see 'luthier config show'"
            )
        values = child
    values[last] = value


def _as_written(location: Location, values: Any) -> Location:
    """The location without the parts that pydantic adds for branches of a union."""
    written: list[str | int] = []
    for place, part in enumerate(location, start=1):
        if isinstance(values, dict):
            is_branch = part not in values and place < len(location)
        else:
            is_branch = isinstance(part, str)
        if is_branch or str(part).startswith(_BRANCHES):
            continue
        written.append(part)
        values = values.get(part) if isinstance(values, dict) else None
    return tuple(written)


def _one_for_each_value(error: ValidationError, values: Any) -> Iterator[dict[str, Any]]:
    """Pydantic's errors with one error per value of a union, instead of one per branch.

    An unknown tag is an error of the tag's own key.
    """

    def place(item: Any) -> tuple[Location, str]:
        return _as_written(item["loc"], values), repr(item["input"])

    for _, alike in groupby(error.errors(), key=place):
        branches: list[dict[str, Any]] = [dict(item) for item in alike]
        told = [str(item["msg"]).partition(_EXPECTED)[2] for item in branches]
        if branches[0]["type"] == "union_tag_invalid":
            context = branches[0]["ctx"]
            expected = " or ".join(context["expected_tags"].rsplit(", ", 1))
            yield {
                "type": "literal_error",
                "loc": (*branches[0]["loc"], context["discriminator"].strip("'")),
                "msg": _EXPECTED + expected,
                "input": context["tag"],
            }
        elif len(branches) > 1 and all(told):
            either = " or ".join(text.partition(",")[0] for text in told)
            yield {**branches[0], "type": "literal_error", "msg": _EXPECTED + either}
        else:
            yield from branches


def _explain(
    kind: str, location: Location, message: str, given: Any, where: str, known: Mapping[str, str]
) -> UsageError:
    dotted = shortened(".".join(map(str, location)))
    if kind == "extra_forbidden":
        unknown = str(location[-1])
        fix = suggested_key(unknown, known)
        if elsewhere := [key for key in keys_named(unknown) if key != dotted and not fix]:
            fix = f"did you mean {listed(elsewhere, 3, last=' or ')}?"
        fix = fix or f"known keys: {', '.join(known)}"
        return UsageError(f"unknown key {dotted!r}", where=where, fix=fix)
    if kind == "union_tag_not_found":
        name = f"{dotted}.{message.rsplit(chr(39), 2)[1]}"
        tags = ", ".join(_tags(location))
        return UsageError(
            f"{dotted}: missing discriminator", where=where, fix=f"set {name} to one of {tags}"
        )
    detail = message.removeprefix("Value error, ").removeprefix("Input ")
    detail = detail.replace("a valid boolean", "true or false")
    choices = detail.removeprefix("should be ").replace(" or ", ", ").replace("'", "").split(", ")
    fix = did_you_mean(str(given), choices) if kind == "literal_error" else ""
    is_section = isinstance(given, Mapping | BaseModel) and kind == "value_error"
    shown = "" if is_section or repr(given) in detail else f", not {shortened(repr(given))}"
    return UsageError(f"{dotted}: {detail}{shown}", where=where, fix=fix)


def _known_keys(location: Location) -> dict[str, str]:
    """The keys and help texts of the section at ``location``, which pydantic named."""
    part: Any = RunConfig
    for name in location:
        part = _fields(part).get(str(name)) or _branch(part, name)
    if not _fields(part):
        return {}
    return {f.alias or name: f.description or "" for name, f in part.model_fields.items()}


def _tags(location: Location) -> list[str]:
    """The values of the discriminator of the union at ``location``."""
    part: Any = RunConfig
    for name in location:
        part = _fields(part).get(str(name)) or _branch(part, name)
    branches = [one for member in get_args(part) for one in (get_args(member) or (member,))]
    firsts = (next(iter(_fields(branch).values()), None) for branch in branches)
    return [str(tag) for first in firsts for tag in get_args(first)]


def _fields(part: Any) -> dict[str, Any]:
    """The fields of a section."""
    if not (isinstance(part, type) and issubclass(part, BaseModel)):
        return {}
    return {field.alias or name: field.annotation for name, field in part.model_fields.items()}


def _branch(part: Any, tag: str | int) -> Any:
    """The branch of a union with this tag in its first field."""
    for branch in get_args(part):
        first = next(iter(_fields(branch).values()), None)
        if tag in get_args(first):
            return branch
    return None
