"""Numbers with units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.units import (
    format_bytes,
    format_count,
    format_duration,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        (90, 90),
        (0.5, 0.5),
        ("45s", 45),
        ("30m", 1800),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1H 30M 5S", 5405),
        ("1d2h", 93600),
        ("1.5h", 5400),
        ("0.001s", 0.001),
    ],
)
def test_durations(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1:30", "-5", "30m2h", "5x", "1h-3m", "nan", "True"])
def test_what_is_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("100", 100),
        (2048, 2048),
        ("12GiB", 12 * 2**30),
        ("12 GB", 12 * 10**9),
        ("500mb", 500 * 10**6),
        ("1.5KiB", 1536),
        ("2T", 2 * 10**12),
        ("3B", 3),
    ],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "12 PB", "-1GB", "1,5GB", "GB", "inf"])
def test_what_is_not_a_size(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (12.4, "12 s"),
        (59.6, "1m 00s"),
        (187, "3m 07s"),
        (3599.7, "1h 00m"),
        (3900, "1h 05m"),
        (100_000, "27h 46m"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(min_value=0, max_value=1e6))
def test_a_printed_duration_is_read_back(seconds: float) -> None:
    again = parse_duration(format_duration(seconds))
    assert again == pytest.approx(seconds, abs=60 if seconds >= 3600 else 0.51)


def test_sizes_and_counts_for_people() -> None:
    assert [format_bytes(n) for n in (0, 1023, 2048, 3.5 * 2**30, 2**42)] == [
        "0 B",
        "1023 B",
        "2.0 KiB",
        "3.5 GiB",
        "4.0 TiB",
    ]
    assert [format_count(n) for n in (0, 999, 921_600, 134_515_008, 7e9, 2e12)] == [
        "0",
        "999",
        "921.6 k",
        "134.5 M",
        "7.0 B",
        "2.0 T",
    ]
