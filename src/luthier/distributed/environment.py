"""What a launcher says of the processes that train together; it needs no torch."""

from __future__ import annotations

import os

from luthier.core.errors import UsageError


def environment_number(name: str, default: int) -> int:
    """A count that a launcher gave as an environment variable.

    Raises:
        UsageError: it is no number.
    """
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise UsageError(f"{name} is {text!r}, not a number", fix="unset it, or use torchrun")
    return int(text)
