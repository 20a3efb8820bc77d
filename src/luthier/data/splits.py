"""Splits that do not leak into each other, whatever the order of the rows."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import Literal

from luthier.core.errors import UsageError
from luthier.core.example import Example
from luthier.core.seeds import derive, fingerprint
from luthier.data.problems import Dropped

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
DUPLICATE = "the same prompt stands there already"
_LEAKS: dict[SplitName, str] = {
    "test": "the same prompt is in the test split",
    "validation": "the same prompt is in the validation split",
}
_STRADDLES: dict[SplitName, str] = {
    "test": "its group is in the test split",
    "validation": "its group is in the validation split",
}
_PRECEDENCE: tuple[tuple[SplitName, SplitName], ...] = (
    ("train", "test"),
    ("train", "validation"),
    ("validation", "test"),
)
"""The first of each pair gives up what both have."""
_HASH_RANGE = 2**63


@dataclass(frozen=True, slots=True)
class Fractions:
    """The shares of groups that are held out where a split has no data of its own.

    Raises:
        UsageError: nothing would be left to train on.
    """

    validation: float
    test: float

    def __post_init__(self) -> None:
        if self.validation + self.test >= 1:
            raise UsageError(
                f"validation ({self.validation:g}) and test ({self.test:g}) leave nothing to "
                "train on",
                where="data.validation_fraction, data.test_fraction",
                fix="their sum must be below 1",
            )


@dataclass(frozen=True, slots=True)
class Splits:
    """The three splits, and what was left out of them."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    dropped: tuple[Dropped, ...] = ()


def split(
    train: Iterable[Example],
    held_out: Mapping[SplitName, Iterable[Example]],
    fractions: Fractions,
    seed: int,
) -> Splits:
    """Cut data into splits without leaks.

    A group goes to one split as a whole, by a hash of (seed, group) alone: neither the order of
    the rows nor other rows move it (unless there are so few groups that a split would have none;
    it then gets the nearest one). An example without a group is a group of its own. Examples of
    ``train`` whose prompt or group is held out are dropped, never the held-out ones; the test
    split stays as it is given.

    Args:
        train: the examples that training may use, and from which missing splits are taken. Their
            ids are unique.
        held_out: splits that have data of their own.
        fractions: the shares of groups for the other ones.
        seed: the run's seed.

    Returns:
        Splits in an order that depends only on seed and content.
    """
    pool, dropped = _without_duplicates(train)
    parts: dict[SplitName, list[Example]] = {"train": [], "validation": [], "test": []}
    wanted = Fractions(
        validation=0.0 if "validation" in held_out else fractions.validation,
        test=0.0 if "test" in held_out else fractions.test,
    )
    groups = {example.id: _group(example) for example in pool}
    homes = _homes(set(groups.values()), wanted, seed)
    for example in pool:
        parts[homes[groups[example.id]]].append(example)
    for name, examples in held_out.items():
        parts[name] = list(examples)
    for name, over in _PRECEDENCE:
        parts[name], leaks = _without_leaks(parts[name], parts[over], over)
        dropped += leaks
    ordered = {name: _shuffled(examples, seed, name) for name, examples in parts.items()}
    return Splits(**ordered, dropped=tuple(dropped))


def draw(examples: Sequence[Example], limit: int | None) -> tuple[Example, ...]:
    """At most ``limit`` examples of a split, a smaller draw being the beginning of a larger one.

    A split is in a random order already, so its first examples are drawn at random.
    """
    return tuple(examples[:limit])


def with_unique_ids(examples: Iterable[Example]) -> list[Example]:
    """Equal examples get numbered ids; all others keep theirs."""
    seen: dict[str, int] = {}
    result = []
    for example in examples:
        count = seen[example.id] = seen.get(example.id, 0) + 1
        result.append(example if count == 1 else replace(example, id=f"{example.id}-{count}"))
    return result


def prompt_key(example: Example) -> str:
    """What two examples share that ask the same: the prompt without regard to case and blanks.

    Choices count as part of the prompt. Plain text is its own prompt.
    """
    texts = [message.content for message in example.messages] or list(example.references)
    return fingerprint(*map(_normalised, texts), "\x1e", *map(_normalised, example.choices))


def _normalised(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split()).casefold()


def _group(example: Example) -> str:
    return f"group {example.group}" if example.group else f"prompt {prompt_key(example)}"


def _homes(groups: Iterable[str], shares: Fractions, seed: int) -> dict[str, SplitName]:
    """The split of each group: those with the lowest hashes are the test, the next validation.

    No split that has a share is left without a group, if there are groups enough.
    """
    positions = {group: derive(seed, "split", group) / _HASH_RANGE for group in groups}
    ordered = sorted(positions, key=lambda group: positions[group])
    in_test = sum(position < shares.test for position in positions.values())
    in_both = sum(position < shares.test + shares.validation for position in positions.values())
    least_test, least_validation = int(shares.test > 0), int(shares.validation > 0)
    room = len(ordered) - 1  # the last one is for training
    num_test = min(max(in_test, least_test), room - least_validation)
    num_validation = min(max(in_both - in_test, least_validation), room - max(num_test, 0))
    names: Iterator[SplitName] = chain(
        repeat("test", num_test), repeat("validation", num_validation), repeat("train")
    )
    return dict(zip(ordered, names, strict=False))


def _without_duplicates(examples: Iterable[Example]) -> tuple[list[Example], list[Dropped]]:
    """Of equal prompts one stays, whatever the order of the rows."""
    kept: dict[str, Example] = {}
    dropped: list[Dropped] = []
    ordered = sorted(examples, key=lambda example: (_content(example), example.group))
    for example in ordered:
        key = prompt_key(example)
        if key in kept:
            dropped.append(Dropped(example.where, DUPLICATE))
        else:
            kept[key] = replace(example, id=_content(example))
    return list(kept.values()), dropped


def _content(example: Example) -> str:
    """The part of an id that tells the content, without the number that equal rows get."""
    return example.id.split("-", maxsplit=1)[0]


def _without_leaks(
    examples: Sequence[Example], over: Sequence[Example], name: SplitName
) -> tuple[list[Example], list[Dropped]]:
    """``examples`` without those whose prompt or group is in the split ``over``."""
    prompts = {prompt_key(example) for example in over}
    groups = {example.group for example in over if example.group}
    kept, dropped = [], []
    for example in examples:
        if prompt_key(example) in prompts:
            dropped.append(Dropped(example.where, _LEAKS[name]))
        elif example.group in groups:
            dropped.append(Dropped(example.where, _STRADDLES[name]))
        else:
            kept.append(example)
    return kept, dropped


def _shuffled(examples: Sequence[Example], seed: int, name: SplitName) -> tuple[Example, ...]:
    """Sorted by a hash of each example, so that a new one does not move the others."""
    return tuple(sorted(examples, key=lambda example: derive(seed, "draw", name, example.id)))
