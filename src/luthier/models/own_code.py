"""Fingerprint of Python code that a model includes and loads."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from luthier.core.errors import DataError
from luthier.core.files import file_sha256
from luthier.core.user_files import is_there, read_given_json

_NAMING = ("config.json", "tokenizer_config.json")


def own_code(folder: Path) -> str:
    """A fingerprint of the code that a model's files name, and of all code beside it.

    Returns:
        Empty if they name none, so that transformers' own code is used.

    Raises:
        DataError: a file is unreadable.
    """
    named = [mapped for name in _NAMING if (mapped := _mapped(folder / name))]
    if not named:
        return ""
    digest = hashlib.sha256(json.dumps(named, sort_keys=True).encode())
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(file_sha256(path).encode())
    return digest.hexdigest()


def _mapped(path: Path) -> object:
    """The ``auto_map`` of a file, if it exists."""
    if not is_there(path):
        return None
    values = read_given_json(path)
    if not isinstance(values, dict):
        raise DataError("this is not a JSON object", where=str(path))
    return values.get("auto_map")
