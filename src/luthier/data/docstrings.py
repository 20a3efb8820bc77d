"""The bundled task: summarise functions of the interpreter's standard library."""

from __future__ import annotations

import ast
import gc
import inspect
import os
import sysconfig
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import dropwhile
from pathlib import Path

from luthier.core.console import Console
from luthier.core.row import Row

_SKIPPED = frozenset(
    (
        *("test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "__pycache__"),
        *("encodings", "turtledemo", "pydoc_data", "ensurepip", "__phello__"),
    )
)
"""Excluded modules: tests, programs, and tables."""
_MIN_LINES = 3
_MAX_CHARACTERS = 1200
_MIN_WORDS = 3
_SENTENCE_ENDS = tuple(".:;!?")

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def read_docstrings(console: Console) -> Iterator[Row]:
    """Functions and methods with a docstring: the columns code, docstring and module.

    ``code`` is the source without the docstring, ``docstring`` its first line, and ``module`` the
    top-level module. Excluded are functions with fewer than three lines or more than 1,200
    characters, docstrings with fewer than three words or a first sentence that continues on the
    next line, anything beyond ASCII, and duplicate code.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    files = list(_files(root))
    met: set[str] = set()
    with console.progress("reading the standard library", len(files)) as advance:
        for path in files:
            with _fast_parsing():
                rows = _rows_of_file(path, path.relative_to(root))
            advance()
            for row in rows:
                content = "".join(row.values["code"].split())
                if content not in met:
                    met.add(content)
                    yield row


@contextmanager
def _fast_parsing() -> Iterator[None]:
    """Disable garbage collection: syntax trees have no cycles, and searching doubles the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            yield
    finally:
        if was_enabled:
            gc.enable()


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - _SKIPPED)
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(".py"))


def _rows_of_file(path: Path, name: Path) -> list[Row]:
    try:
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source)
    except (OSError, ValueError, SyntaxError):
        return []  # a few files in some distributions are templates, or in another encoding
    lines = source.splitlines()
    module = name.parts[0].removesuffix(".py")
    rows = []
    for function in _functions(tree):
        code, summary = _source(function, lines), _summary(function)
        if code and summary:
            where = f"python-docstrings {name.as_posix()}:{function.lineno}"
            rows.append(Row({"code": code, "docstring": summary, "module": module}, where))
    return rows


def _functions(node: ast.Module | ast.ClassDef | _Function) -> Iterator[_Function]:
    """Functions and methods in file order, including nested ones."""
    for child in node.body:
        if isinstance(child, _Function):
            yield child
        if isinstance(child, _Function | ast.ClassDef):
            yield from _functions(child)


def _summary(function: _Function) -> str:
    """The first line of the docstring; empty if unsuitable."""
    lines = inspect.cleandoc(ast.get_docstring(function, clean=False) or "").splitlines()
    if not lines:
        return ""
    first = lines[0].strip()
    goes_on = len(lines) > 1 and bool(lines[1].strip()) and not first.endswith(_SENTENCE_ENDS)
    is_code = first.startswith(">>>")
    if goes_on or is_code or len(first.split()) < _MIN_WORDS or not first.isascii():
        return ""
    return first


def _source(function: _Function, lines: list[str]) -> str:
    """The dedented source without its docstring; empty if unsuitable."""
    docstring = function.body[0]
    if len(function.body) < 2 or docstring.lineno == function.lineno:
        return ""
    begin = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    head = lines[begin - 1 : docstring.lineno - 1]
    tail = dropwhile(_is_blank, lines[docstring.end_lineno : function.end_lineno])
    code = textwrap.dedent("\n".join([*head, *tail]))
    num_lines = sum(not _is_blank(line) for line in code.splitlines())
    too_short_or_long = num_lines < _MIN_LINES or len(code) > _MAX_CHARACTERS
    is_indented = code[:1].isspace()  # by a multi-line string that starts at the margin
    return "" if too_short_or_long or is_indented or not code.isascii() else code


def _is_blank(line: str) -> bool:
    return not line.strip()
