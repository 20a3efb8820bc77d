"""The fields of a pydantic model as a definition list: type, default and meaning."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from luthier.config.base import Bytes, Seconds
from luthier.prompts.jinja import Jinja

_SECTION = re.compile(r"\n\n(Args|Attributes|Raises|Returns):\n.*", re.DOTALL)
_NAMED: Mapping[Any, str] = {
    Seconds: "duration",
    Bytes: "size",
    Jinja: "template",
    bool: "true or false",
    int: "integer",
    float: "number",
    str: "text",
    Path: "path",
    Any: "anything",
    type(None): "null",
}
_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def field_list(
    model: type[BaseModel],
    prefix: str = "",
    names: Iterable[str] | None = None,
    anchor: str | None = None,
) -> str:
    """The fields of a model, each with its type, its default and its meaning.

    Args:
        model: the class.
        prefix: stands before each name, with its dot.
        names: of the fields that are listed; None: all.
        anchor: stands before each name in the address of its entry; None: the prefix.
    """
    hints = get_type_hints(model, include_extras=True)
    entries = []
    for name in model.model_fields if names is None else names:
        field = model.model_fields[name]
        key = field.alias or name
        address = f"{prefix if anchor is None else anchor}{key}"
        facts = " · ".join(filter(None, (type_of(hints[name], field), default_of(field))))
        told = re.sub(r"\bNone\b", "null", field.description or "")
        meaning = prose(told).replace("\n", "\n    ")
        entries.append(
            f"`{prefix}{key}`{{ #{address} }}\n:   <small>{facts}</small>\n\n    {meaning}"
        )
    return "\n\n".join(entries)


def type_of(hint: Any, field: FieldInfo) -> str:
    """The type of a field with its bounds, in words."""
    base = hint if _named(hint) else field.annotation
    bounds = [
        f"{words} {value:g}"
        for one in field.metadata
        for key, words in _BOUNDS.items()
        if (value := getattr(one, key, None)) is not None
    ]
    return ", ".join((in_words(base), *bounds))


def default_of(field: FieldInfo) -> str:
    """The default of a field; whether it has to be given."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return ""
    return f"default `{as_yaml(value)}`"


def as_yaml(value: Any) -> str:
    """A value as one would write it in a configuration."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {as_yaml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (tuple, list, set, frozenset)):
        return "[" + ", ".join(map(as_yaml, value)) + "]"
    text = str(value)
    return text if text.strip() == text != "" else '"' + text.replace("\n", "\\n") + '"'


def in_words(hint: Any) -> str:
    """A type for people who do not read Python."""
    if found := _named(hint):
        return found
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return in_words(inner[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(in_words, inner)))
    if inspect.isclass(hint) and issubclass(hint, BaseModel):
        return called(hint)
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return f"mapping of {in_words(inner[0])} to {in_words(inner[1])}"
    if inspect.isclass(origin):
        return f"list of {in_words(inner[0])}" if inner else "list"
    return f"`{getattr(hint, '__name__', hint)}`"


def called(model: type[BaseModel]) -> str:
    """The name of a model, as a link to its entry on the same page."""
    return f"[`{model.__name__}`](#{model.__name__})"


def models_in(hint: Any) -> list[type[BaseModel]]:
    """The models that a type is made of, such as the members of a union."""
    if inspect.isclass(hint) and not get_args(hint):
        return [hint] if issubclass(hint, BaseModel) else []
    return [model for inner in get_args(hint) for model in models_in(inner)]


def parts_of(models: Iterable[type[BaseModel]]) -> list[type[BaseModel]]:
    """The models that are values of fields of others, each once, however deep."""
    found: dict[type[BaseModel], None] = {}
    waiting = list(models)
    while waiting:
        for field in waiting.pop(0).model_fields.values():
            new = [part for part in models_in(field.annotation) if part not in found]
            found |= dict.fromkeys(new)
            waiting += new
    return list(found)


def about(described: Any) -> str:
    """The docstring of a class or a module, without its list of attributes."""
    return prose(_SECTION.sub("", inspect.getdoc(described) or ""))


def prose(text: str) -> str:
    """A docstring's text in Markdown: nothing but its code is markup."""
    parts = re.split(r"(``[^`]+``|`[^`]+`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([<>*_\[\]])", r"\\\1", part) for part in parts
    )


def _named(hint: Any) -> str:
    try:
        return _NAMED.get(hint, "")
    except TypeError:  # an annotation that cannot be a key
        return ""
