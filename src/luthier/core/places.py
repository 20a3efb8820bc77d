"""Locations of this machine, which files for other machines must not name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from luthier.core.cache import cache_folder

_BEFORE, _AFTER = r"(?<![\w/.-])", r"(?![\w.-])"


def own_places(*more: Path) -> tuple[str, ...]:
    """The user's folder, the working folder, the cache, and further folders.

    A folder at the root of the file system is left out, because its name may be an ordinary word,
    unless it is the user's.
    """
    home = Path.home()
    named = [Path.cwd(), cache_folder(), *more]
    folders = {path for one in named for path in (one, one.resolve()) if len(path.parts) > 2}
    if len(home.parts) > 1:
        folders |= {home, home.resolve()}
    return tuple(sorted(map(str, folders)))


def find_place(lines: Iterable[str], places: Sequence[str]) -> tuple[int, str] | None:
    """The first line that names a place, from 1, and the place; None: no line does."""
    pattern = re.compile(_BEFORE + "(" + "|".join(map(re.escape, places)) + ")" + _AFTER)
    for number, line in enumerate(lines, start=1):
        if found := pattern.search(line):
            return number, found[1]
    return None
