"""Where Luthier keeps what can be made again: converted models, downloads."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``LUTHIER_CACHE``, or ``luthier`` in the user's cache folder."""
    if configured := os.environ.get("LUTHIER_CACHE"):
        return Path(configured).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "luthier"
