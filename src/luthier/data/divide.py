"""The division of examples into splits, as a configuration says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from luthier.config.data import DataConfig
from luthier.core.console import Console
from luthier.core.example import Example
from luthier.data.bundled import BUNDLED
from luthier.data.near_duplicates import NearDuplicates, linked_texts, unlinked_texts
from luthier.data.splits import Fractions, SplitName, Splits, near_warnings, split

_TEST_FRACTION, _LARGEST_TEST_FRACTION = 0.1, 0.3
_LEAST_TEST = 100


def divide(
    train: list[Example],
    held_out: dict[SplitName, list[Example]],
    data: DataConfig,
    seed: int,
    console: Console,
) -> Splits:
    """The splits of what was read, with a warning about near-duplicates that stay apart."""
    total = len(train) + sum(map(len, held_out.values()))

    def find(texts: Sequence[str]) -> Iterator[NearDuplicates]:
        with console.progress("looking for near-duplicates", total) as advance:
            yield from linked_texts(texts, advance)

    fractions = fractions_of(data, len(train))
    near = find if _near_duplicates(data) == "group" else unlinked_texts
    with console.progress("splitting", len(train)) as advance:
        splits = split(train, held_out, fractions, seed, advance, near)
    for warning in near_warnings(splits.near):
        console.warn(warning)
    return splits


def fractions_of(data: DataConfig, examples: int) -> Fractions:
    """The shares to hold out of so many examples."""
    test = data.test_fraction
    if test is None:
        test = _TEST_FRACTION if data.source in BUNDLED else default_test_fraction(examples)
    return Fractions(data.validation_fraction, test)


def default_test_fraction(examples: int) -> float:
    """The share to hold out for the test of so many examples of a user, if none is set.

    30 test examples show gains of about 0.23, 100 of about 0.13.
    """
    wanted = _LEAST_TEST / examples if examples else 0.0
    return min(max(_TEST_FRACTION, wanted), _LARGEST_TEST_FRACTION)


def _near_duplicates(data: DataConfig) -> str:
    """The treatment of near-duplicates. Bundled rows are grouped by their origin already."""
    default = "off" if data.source in BUNDLED else "group"
    return data.near_duplicates or default
