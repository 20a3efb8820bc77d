"""Independent random seeds derived from one number and a name."""

from __future__ import annotations

import hashlib


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the draw called ``names``.

    Draws with different names are independent, and a new draw changes no other.
    """
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def fingerprint(*parts: str) -> str:
    """The first 16 hex digits of the SHA-256 of ``parts``, used as a content id."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]
