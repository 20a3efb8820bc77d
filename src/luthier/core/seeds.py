"""Seeds that follow from one number and a name, so that no draw depends on another."""

from __future__ import annotations

import hashlib


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the draw called ``names``.

    Two draws with different names are independent, and adding a draw changes no other one.
    """
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def fingerprint(*parts: str) -> str:
    """The first 16 hex digits of the SHA-256 of ``parts``: a name for content."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]
