"""The licence of a model, from its own files."""

from __future__ import annotations

import re
from pathlib import Path

from luthier.core.errors import DataError
from luthier.core.user_files import is_there, read_given
from luthier.models.bundled import BUNDLED_MODELS
from luthier.models.resolve import ModelFolder

_CARD = "README.md"
_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md")
_FRONT_MATTER = re.compile(r"\A\ufeff?---\r?\n(.*?)^---", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r"""^license:\s*["']?([a-z0-9][a-z0-9.-]{0,40})["']?\s*$""", re.MULTILINE)
_TEXTS = {
    "apache-2.0": re.compile(r"\s*Apache License\s+Version 2\.0,"),
    "mit": re.compile(r"\s*(?:The )?MIT License\b"),
}


def licence_of(folder: ModelFolder) -> str:
    """The licence of a model, as the Hub abbreviates it, such as ``apache-2.0``.

    It is read from the card or the licence file beside the weights.

    Returns:
        The licence; empty: the files do not tell.
    """
    if bundled := BUNDLED_MODELS.get(folder.loads_as):
        return bundled.licence.lower()
    card = _FRONT_MATTER.match(_text(folder.path / _CARD))
    if card and (named := _FIELD.search(card[1])):
        return named[1]
    for name in _FILES:
        text = _text(folder.path / name)
        for licence, beginning in _TEXTS.items():
            if beginning.match(text):
                return licence
    return ""


def _text(path: Path) -> str:
    """The text of a file; empty if there is none."""
    try:
        return read_given(path).decode("utf-8", "replace") if is_there(path) else ""
    except DataError:
        return ""
