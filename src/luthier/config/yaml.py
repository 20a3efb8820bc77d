"""Strict YAML with the line number of every value.

PyYAML's safe loader reads ``1e-4`` as text, ``no`` as false, ``010`` as eight and ``1:30`` as
ninety, and silently takes the last of two equal keys. Here numbers are numbers, only ``true`` and
``false`` are booleans, and a duplicate key is an error. Aliases, which can expand a few lines to
billions of values, are rejected.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from luthier.core.errors import DataError, UsageError
from luthier.core.names import named
from luthier.core.untrusted import MAX_DEPTH, depth_exceeds
from luthier.core.user_files import read_given

Location = tuple[str | int, ...]

_MOST_BYTES = 256 * 2**10
"""Larger documents would take seconds to parse; the longest of Luthier's own have 20 KiB."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's booleans and numbers, without aliases or deep nesting."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node as PyYAML does, but reject aliases."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not supported", mark)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            problem = f"this YAML is nested more than {MAX_DEPTH} levels deep"
            raise yaml.composer.ComposerError(None, None, problem, mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if not tag.endswith((":bool", ":int", ":float", ":timestamp"))
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# PyYAML matches only the start of a value, so every pattern anchors its end.
for _tag, _pattern, _first in (
    ("bool", r"(true|True|TRUE|false|False|FALSE)\Z", "tTfF"),
    ("int", r"[-+]?(0|[1-9][0-9]*)\Z", "-+0123456789"),
    ("float", r"[-+]?(?=.*[.eE])(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z", "-+0123456789."),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


class Document:
    """A parsed YAML mapping with the line of each value."""

    def __init__(self, values: dict[str, Any], lines: dict[Location, int], source: str) -> None:
        self.values = values
        self.source = source
        self._lines = lines

    def where(self, location: Location) -> str:
        """``file:line`` of the value at ``location``, or of its nearest parent."""
        for length in range(len(location), 0, -1):
            if line := self._lines.get(location[:length]):
                return f"{self.source}:{line}"
        return self.source

    def laid_over(self, key: str, part: str) -> Document:
        """The values of ``part``, of the mapping under ``key``, laid over all values but that one.

        Raises:
            KeyError: there is no such part.
        """
        at = (key, part)
        shared = {name: value for name, value in self.values.items() if name != key}
        own = self.values[key][part]
        lines = {place: line for place, line in self._lines.items() if place[0] in shared}
        lines |= {p[2:]: line for p, line in self._lines.items() if p[:2] == at and len(p) > 2}
        return Document({**shared, **own}, lines, self.source)


def parse_yaml(text: str, source: str) -> Document:
    """Parse a YAML mapping.

    Raises:
        UsageError: it is not valid YAML, has a duplicate key or a tag, or is not a mapping.
    """
    lines: dict[Location, int] = {}
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            _note_lines(node, (), lines, source)
        values = loader.construct_document(node) if node is not None else {}
        if depth_exceeds(values):
            raise UsageError(f"this YAML is nested more than {MAX_DEPTH} levels deep", where=source)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{source}:{mark.line + 1}" if mark else source
        raise UsageError(f"invalid YAML: {error.problem}", where=place) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"invalid YAML: {error}", where=source) from None
    if not isinstance(values, dict):
        raise UsageError("this YAML is not a mapping of keys to values", where=source)
    return Document(values, lines, source)


def read_yaml(path: Path) -> Document:
    """The parsed YAML file at ``path``.

    Raises:
        UsageError: it cannot be read or parsed.
    """
    try:
        text = read_given(path, _MOST_BYTES).decode("utf-8-sig")
    except DataError as error:
        raise UsageError(error.problem, where=error.where, fix=error.fix) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"this file is not valid UTF-8: {error}", where=str(path)) from None
    return parse_yaml(text, str(path))


def parse_scalar(text: str) -> Any:
    """The value of ``key=text`` on a command line: a YAML value, or the text itself."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader subclass
    except (yaml.YAMLError, ValueError, RecursionError):
        return text


def _note_lines(node: yaml.Node, at: Location, lines: dict[Location, int], source: str) -> None:
    if at:
        lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note_lines(item, (*at, index), lines, source)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise UsageError(
                "this key is a list or a mapping",
                where=f"{source}:{line}",
                fix="use text as the key",
            )
        if key.value in seen:
            raise UsageError(
                f"duplicate key {named(key.value)}, first on line {seen[key.value]}",
                where=f"{source}:{line}",
                fix="keep one of them",
            )
        seen[key.value] = line
        _note_lines(value, (*at, key.value), lines, source)
        lines[(*at, key.value)] = line
