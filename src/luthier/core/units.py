"""Parsing and formatting of numbers with units."""

from __future__ import annotations

import re

_DURATION = re.compile(
    r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?!s))?(?:(\d+(?:\.\d+)?)s?)?"
    r"(?:(\d+(?:\.\d+)?)ms)?"
)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?", re.IGNORECASE)
_PREFIXES = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_PREFIXES |= {f"{prefix}i": 2 ** (10 * power) for power, prefix in enumerate("kmgt", start=1)}


def parse_duration(text: str | float) -> float:
    """Seconds from ``"1h30m"``, ``"45s"`` or a bare number of seconds.

    Raises:
        ValueError: the text is not a duration.
    """
    match = _DURATION.fullmatch(str(text).strip().lower().replace(" ", ""))
    if not match or not any(match.groups()):
        raise ValueError(f"{text!r} is not a duration; write it like 90s, 30m, 2h or 1h30m")
    days, hours, minutes, seconds, thousandths = (float(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds + thousandths / 1000


def parse_size(text: str | float) -> int:
    """Bytes from ``"12GiB"``, ``"500 MB"`` or a bare number of bytes. GB is 1e9, GiB is 2^30.

    Raises:
        ValueError: the text is not a size.
    """
    match = _SIZE.fullmatch(str(text).strip())
    if not match:
        raise ValueError(f"{text!r} is not a size; write it like 12GiB or 500MB")
    number, prefix = match.groups()
    size = float(number) * _PREFIXES[(prefix or "").lower()]
    if size == float("inf"):
        raise ValueError("the size is too large")
    return int(size)


def counted(count: int, noun: str) -> str:
    """A count with its noun: ``"1 answer"``, ``"1,200 answers"``. The plural must end in s."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def format_duration(seconds: float) -> str:
    """``"1h 05m"``, ``"3m 07s"``, ``"12 s"``, ``"0.4 s"`` or ``"31 ms"``."""
    if 0.00005 < seconds < 0.095:
        return f"{seconds * 1000:.{1 if seconds < 0.001 else 0}f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def format_bytes(count: float) -> str:
    """A size in binary units: ``"1.9 MiB"``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def format_count(count: float) -> str:
    """A count with the field's suffixes: ``"921.6 k"``, ``"134.5 M"``, ``"7.0 B"``."""
    for unit in ("", " k", " M", " B"):
        if count < 1000:
            return f"{count:.0f}" if unit == "" else f"{count:.1f}{unit}"
        count /= 1000
    return f"{count:.1f} T"
