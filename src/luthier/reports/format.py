"""Number formats shared by terminal, HTML and Markdown."""

from __future__ import annotations

from typing import Protocol

from luthier.core.units import format_bytes, format_count, format_duration
from luthier.records.base import Estimate

ABSENT = "–"
NO_INTERVAL = "no interval"


class HasInterval(Protocol):
    """A value with an interval, or with the reason why it has none."""

    @property
    def low(self) -> float:
        """The lower end of the interval."""

    @property
    def high(self) -> float:
        """The upper end of the interval."""

    @property
    def no_interval(self) -> str:
        """The reason for a missing interval; otherwise empty."""


def format_value(value: float, *, digits: int = 3, signed: bool = False) -> str:
    """A number with fixed decimals and a typographic minus; zero has no sign."""
    rounded = round(value, digits) + 0.0
    return f"{rounded:{'+' if signed else ''}.{digits}f}".replace("-", "−")


def digits_of(estimate: Estimate) -> int:
    """The decimals of an estimate: three for shares, two for scores out of a hundred."""
    return 2 if max(abs(estimate.value), abs(estimate.low), abs(estimate.high)) >= 10 else 3


def format_estimate(estimate: Estimate, *, signed: bool = False) -> str:
    """The value of an estimate, without its interval."""
    return format_value(estimate.value, digits=digits_of(estimate), signed=signed)


def format_interval(held: HasInterval, *, digits: int = 3, signed: bool = False) -> str:
    """``[0.259, 0.303]``, or ``no interval`` if there is none."""
    if held.no_interval:
        return NO_INTERVAL
    ends = (format_value(end, digits=digits, signed=signed) for end in (held.low, held.high))
    return f"[{', '.join(ends)}]"


def format_p(p: float) -> str:
    """``p < 0.001`` or ``p = 0.012``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def format_percent(share: float) -> str:
    """``95 %``."""
    return f"{share * 100:g} %"


def parameters_or_absent(count: int) -> str:
    """A number of parameters, or a dash if nothing was trained."""
    return format_count(count) if count else ABSENT


def bytes_or_absent(count: int) -> str:
    """A size, or a dash if it is 0."""
    return format_bytes(count) if count else ABSENT


def duration_or_absent(seconds: float) -> str:
    """A duration, or a dash if it is 0."""
    return format_duration(seconds) if seconds else ABSENT
