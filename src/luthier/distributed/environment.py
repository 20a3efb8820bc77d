"""A launcher's environment variables, read without torch."""

from __future__ import annotations

import os

from luthier.core.errors import UsageError


def environment_number(name: str, default: int) -> int:
    """An integer from a launcher's environment variable.

    Raises:
        UsageError: it is not a number.
    """
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise UsageError(f"{name} is {text!r}, not a number", fix="unset it, or use torchrun")
    return int(text)
