"""The Python functions, for mkdocstrings to write from their docstrings."""

from __future__ import annotations

import ast
from pathlib import Path

import luthier


def functions() -> str:
    """A directive for every public function, by the module that defines it."""
    tree = ast.parse(Path(luthier.__file__).read_text(encoding="utf-8"))
    homes = {
        name.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("luthier.api")
        for name in node.names
    }
    return "\n\n".join(f"::: {homes[name]}.{name}" for name in luthier.__all__)
