"""Exit codes, and the messages of every error that Luthier raises, read from its source."""

from __future__ import annotations

import ast
import inspect
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import luthier
from luthier.core import errors
from luthier.core.errors import LuthierError

from .fields import about, prose

SOURCE = Path(luthier.__file__).parent
_VALIDATED = {"config", "tasks", "prompts"}
"""Rooms whose `ValueError` becomes an error of the configuration or of a file."""


@dataclass(frozen=True)
class Message:
    """An error in the source.

    Attributes:
        family: the name of its class.
        problem: its text, with … for values.
        fix: the advice; empty where there is none.
        file: where it is raised, seen from the package.
    """

    family: str
    problem: str
    fix: str
    file: str


def exit_codes() -> str:
    """The table of exit codes: one for each family of errors, and those of success and defects."""
    families = [
        one
        for _, one in inspect.getmembers(errors, inspect.isclass)
        if issubclass(one, LuthierError) and one is not LuthierError
    ]
    rows = [(0, "", "The command did what it was asked.")]
    rows += [(1, "", "A defect of Luthier; the traceback says where.")]
    rows += [(one.exit_code, f"`{one.__name__}`", about(one)) for one in families]
    rows += [(130, "", "Interrupted with Ctrl-C; the same command goes on.")]
    lines = [f"| {code} | {family} | {meaning} |" for code, family, meaning in sorted(rows)]
    return "\n".join(["| code | family | meaning |", "|---|---|---|", *lines])


def messages() -> str:
    """A heading for every room of the package, and under it the messages of its errors."""
    rooms: dict[str, dict[Message, None]] = defaultdict(dict)
    for message in all_messages():
        rooms[message.file.partition("/")[0]][message] = None
    texts = []
    for room, found in sorted(rooms.items()):
        texts.append(f"## `{room}`")
        texts += map(_entry, sorted(found, key=lambda one: one.problem.lstrip("…' ").lower()))
    return "\n\n".join(texts)


def _entry(message: Message) -> str:
    fix = f"{prose(message.fix)}\n\n    " if message.fix else ""
    return (
        f"{prose(message.problem)}\n:   {fix}<small>`{message.family}` · `{message.file}`</small>"
    )


def all_messages() -> Iterator[Message]:
    """The messages of every error that is made anywhere in the package, by file."""
    nodes = {path: _nodes(path) for path in sorted(SOURCE.rglob("*.py"))}
    families = _families(node for found in nodes.values() for node in found)
    for path, found in nodes.items():
        file = path.relative_to(SOURCE).as_posix()
        validated = file.partition("/")[0] in _VALIDATED
        for node in found:
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = _name(node.func)
            family = "UsageError" if validated and name == "ValueError" else families.get(name)
            problem = text_of(node.args[0])
            if family and re.search(r"\w", problem):
                fix = next((text_of(one.value) for one in node.keywords if one.arg == "fix"), "")
                yield Message(family, problem, fix if re.search(r"\w", fix) else "", file)


def _nodes(path: Path) -> list[ast.Call | ast.ClassDef]:
    """The calls and classes of a file, where an error is named in it at all."""
    text = path.read_text(encoding="utf-8")
    tree = ast.walk(ast.parse(text)) if "Error" in text else ()
    return [node for node in tree if isinstance(node, ast.Call | ast.ClassDef)]


def _families(nodes: Iterable[ast.AST]) -> dict[str, str]:
    """From every class of error to the family in `luthier.core.errors` that gives its exit code."""
    own = inspect.getmembers(errors, inspect.isclass)
    found = {name: name for name, one in own if issubclass(one, LuthierError)}
    for node in nodes:
        if isinstance(node, ast.ClassDef):
            base = next((_name(one) for one in node.bases if _name(one) in found), "")
            found |= {node.name: found[base]} if base and node.name not in found else {}
    return found


def text_of(node: ast.expr) -> str:
    """The text that an expression makes, with … for every value; alternatives with a bar."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return re.sub("…+", "…", "".join(map(text_of, values)))
        case ast.FormattedValue(value=value, conversion=conversion):
            quote = "'" if conversion == ord("r") else ""
            return f"{quote}{text_of(value)}{quote}"
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return text_of(left) + text_of(right)
        case ast.IfExp(body=body, orelse=other):
            texts = [text for text in (text_of(body), text_of(other)) if text]
            return " | ".join(dict.fromkeys(texts))
        case ast.Call(func=ast.Attribute(value=inner, attr="strip" | "rstrip")):
            return text_of(inner)
    return "…"


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
