"""Splits without leakage, independent of the order of rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import Literal, NamedTuple

from luthier.core.errors import UsageError
from luthier.core.example import Example
from luthier.core.seeds import derive
from luthier.data.identity import content_id, prompt_key, question_id
from luthier.data.problems import Dropped

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
DUPLICATE = "duplicate prompt and answer"
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
"""In each pair, the first split loses overlapping examples."""
_HASH_RANGE = 2**63


@dataclass(frozen=True, slots=True)
class Fractions:
    """The shares of groups to hold out for splits without their own data.

    Raises:
        UsageError: nothing would remain for training.
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
    """The three splits, and the examples left out of them."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    dropped: tuple[Dropped, ...] = ()


def split(
    train: Iterable[Example],
    held_out: Mapping[SplitName, Iterable[Example]],
    fractions: Fractions,
    seed: int,
    advance: Callable[[], object] = lambda: None,
) -> Splits:
    """The splits of the data, without leakage.

    A group is assigned to one split as a whole, by a hash of (seed, group) only, so neither the
    order of the rows nor other rows affect it (unless there are so few groups that a split would be
    empty; it then gets the nearest one). An example without a group is its own group. Examples of
    ``train`` whose prompt or group is held out are dropped, never the held-out ones; the given test
    split is unchanged.

    Only an identical prompt with an identical answer is a duplicate, of which one is kept. Examples
    whose prompts differ only in case, white space or Unicode forms are all kept, in one split and
    as one group. Several answers to one open question become the references of one example in the
    test split.

    Args:
        train: the examples for training, from which missing splits are taken. Their ids are unique.
        held_out: splits with their own data.
        fractions: the shares of groups for the others.
        seed: the run's seed.
        advance: called for each example of ``train`` that is compared with the others.

    Returns:
        Splits whose order depends only on seed and content.
    """
    pool, dropped = _without_duplicates(train, advance)
    parts: dict[SplitName, list[_Keyed]] = {"train": [], "validation": [], "test": []}
    wanted = Fractions(
        validation=0.0 if "validation" in held_out else fractions.validation,
        test=0.0 if "test" in held_out else fractions.test,
    )
    homes = _homes({item.group for item in pool}, wanted, seed)
    for item in pool:
        parts[homes[item.group]].append(item)
    for name, examples in held_out.items():
        parts[name] = _keyed(examples)
    for name, over in _PRECEDENCE:
        parts[name], leaks = _without_leaks(parts[name], parts[over], over)
        dropped += leaks
    parts["test"] = _with_references(parts["test"])
    ordered = {name: _shuffled(_grouped(part), seed, name) for name, part in parts.items()}
    return Splits(**ordered, dropped=tuple(dropped))


def draw(examples: Sequence[Example], limit: int | None) -> tuple[Example, ...]:
    """At most ``limit`` examples of a split; a smaller sample is a prefix of a larger one.

    A split is already in random order, so its first examples are a random sample.
    """
    return tuple(examples[:limit])


def with_unique_ids(examples: Iterable[Example]) -> list[Example]:
    """The examples, with numbered ids for equal ones."""
    seen: dict[str, int] = {}
    result = []
    for example in examples:
        count = seen[example.id] = seen.get(example.id, 0) + 1
        result.append(example if count == 1 else replace(example, id=f"{example.id}-{count}"))
    return result


class _Keyed(NamedTuple):
    """An example with the key of nearly equal prompts."""

    example: Example
    key: str

    @property
    def group(self) -> str:
        """The unit that is assigned to one split."""
        return f"group {self.example.group}" if self.example.group else f"prompt {self.key}"


def _keyed(examples: Iterable[Example]) -> list[_Keyed]:
    return [_Keyed(example, prompt_key(example)) for example in examples]


def _homes(groups: Iterable[str], shares: Fractions, seed: int) -> dict[str, SplitName]:
    """The split of each group: the lowest hashes for test, the next for validation.

    No split with a share is left without a group, if there are enough groups.
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


def _without_duplicates(
    examples: Iterable[Example], advance: Callable[[], object]
) -> tuple[list[_Keyed], list[Dropped]]:
    """The examples without duplicates: the one with the largest weight is kept, in any order."""
    kept: dict[str, _Keyed] = {}
    dropped: list[Dropped] = []
    ordered = sorted(examples, key=lambda one: (_content(one), one.group, -one.weight))
    for example in ordered:
        advance()
        content = content_id(example)
        if content in kept:
            dropped.append(Dropped(example.where, DUPLICATE))
        else:
            name = _content(example)
            named = example if example.id == name else replace(example, id=name)
            kept[content] = _Keyed(named, prompt_key(named))
    return list(kept.values()), dropped


def _content(example: Example) -> str:
    """The content part of an id, without the number of equal rows."""
    return example.id.split("-", maxsplit=1)[0]


def _without_leaks(
    items: Sequence[_Keyed], over: Sequence[_Keyed], name: SplitName
) -> tuple[list[_Keyed], list[Dropped]]:
    """``items`` without those whose prompt or group is in the split ``over``."""
    prompts = {item.key for item in over}
    groups = {item.example.group for item in over if item.example.group}
    kept, dropped = [], []
    for item in items:
        if item.key in prompts:
            dropped.append(Dropped(item.example.where, _LEAKS[name]))
        elif item.example.group in groups:
            dropped.append(Dropped(item.example.where, _STRADDLES[name]))
        else:
            kept.append(item)
    return kept, dropped


def _with_references(items: Sequence[_Keyed]) -> list[_Keyed]:
    """One example per open question, with all its answers as references.

    Equal rows of a given test split are kept, so that its size matches published numbers. Answers
    of a closed set are kept too: if labels contradict each other, accepting both would inflate the
    score.
    """
    asked: dict[str, list[_Keyed]] = defaultdict(list)
    for item in items:
        open_question = item.example.messages and not item.example.choices
        own = question_id(item.example) if open_question else f"row {item.example.id}"
        asked[own].append(item)
    merged = []
    for same in asked.values():
        if len({item.example.references for item in same}) == 1:
            merged += same
            continue
        same.sort(key=lambda item: item.example.id)
        texts = dict.fromkeys(text for item in same for text in item.example.references)
        example = replace(same[0].example, references=tuple(texts))
        merged.append(_Keyed(replace(example, id=content_id(example)), same[0].key))
    return merged


def _grouped(items: Sequence[_Keyed]) -> list[Example]:
    """The examples, with nearly equal prompts without a group as one group."""
    counts = Counter(item.key for item in items if not item.example.group)
    return [
        replace(item.example, group=f"prompt {item.key}")
        if not item.example.group and counts[item.key] > 1
        else item.example
        for item in items
    ]


def _shuffled(examples: Sequence[Example], seed: int, name: SplitName) -> tuple[Example, ...]:
    """The examples sorted by a hash, so that a new one does not move the others."""
    return tuple(sorted(examples, key=lambda example: derive(seed, "draw", name, example.id)))
