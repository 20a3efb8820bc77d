"""Validation of a user's YAML documents other than the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from luthier.config.base import misspelt_first, suggested_key
from luthier.config.yaml import Document, Location
from luthier.core.errors import DataError, ProblemList
from luthier.core.names import shortened

Model = TypeVar("Model", bound=BaseModel)


def validate_document(
    model: type[Model],
    noun: str,
    document: Document,
    at: Location = (),
    values: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
) -> Model:
    """The validated model of a document, or of a part of it.

    Args:
        model: its class.
        noun: its name in messages, such as "template".
        document: the document with line numbers.
        at: the location of the part, for errors.
        values: the values to validate; None: the whole document.
        context: passed to the validators.

    Raises:
        DataError: it is invalid; lists every problem with its line.
    """
    given = document.values if values is None else values
    try:
        return model.model_validate(given, context=context)
    except ValidationError as error:
        problems, items = ProblemList(), misspelt_first(error.errors())
        problems.count(len(items[problems.limit :]))
        for item in items[: problems.limit]:
            location = _as_written(item["loc"], given)
            where = document.where((*at, *location))
            problems.add(_explain(model, noun, location, item["type"], item["msg"], where))
        problems.raise_if_any()
        raise AssertionError("pydantic reported no error") from error


def _as_written(location: Location, values: Any) -> Location:
    """The location without list indices of items written without brackets."""
    written: list[str | int] = []
    for part in location:
        if isinstance(part, int) and not isinstance(values, list):
            continue
        written.append(part)
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            values = None
    return tuple(written)


def _explain(
    model: type[BaseModel], noun: str, location: Location, kind: str, message: str, where: str
) -> DataError:
    key = shortened(".".join(map(str, location)))
    article = "an" if noun[0] in "aeiou" else "a"
    if kind == "extra_forbidden":
        fields = model.model_fields if len(location) == 1 else {}
        known = {name: field.description or "" for name, field in fields.items()}
        fix = f"{article} {noun} has {', '.join(known)}" if known else ""
        fix = suggested_key(str(location[-1]), known) or fix
        return DataError(f"{article} {noun} has no key {key!r}", where=where, fix=fix)
    if kind == "missing":
        return DataError(f"{article} {noun} needs {key!r}", where=where, fix=f"add {key}: …")
    detail = message.removeprefix("Value error, ")
    return DataError(f"{key}: {detail}" if key else detail, where=where)
