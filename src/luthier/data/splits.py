"""Splits without leakage, independent of the order of rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from luthier.core.errors import UsageError
from luthier.core.example import Example
from luthier.core.seeds import derive
from luthier.data.assignment import HeldOut, hold_out, units_of
from luthier.data.identity import content_id, prompt_key, question_id
from luthier.data.near_duplicates import (
    THRESHOLDS,
    JoinedGroups,
    NearDuplicates,
    compared_text,
    join_groups,
    unlinked_texts,
)
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
_MOST_LOST = 0.2
"""The share of rows that may be left out without a warning of its own."""


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


FindNear = Callable[[Sequence[str]], Iterable[NearDuplicates]]
"""Yields the near-duplicates among texts, from loosely to tightly joined, and at last none."""


@dataclass(frozen=True, slots=True)
class NearCount:
    """The near-duplicates among examples.

    Attributes:
        examples: number of examples with a near-duplicate.
        groups: number of groups of such examples.
        pair: the places of two of them; empty without any.
        leaked: number of validation and test examples with a near-duplicate in training, since
            they were given or would chain most examples into one unit.
        threshold: the least similarity of two that were joined; None: none were.
        is_chained_by_groups: whether near-duplicates chain most examples only through groups.
    """

    examples: int = 0
    groups: int = 0
    pair: tuple[str, ...] = ()
    leaked: int = 0
    threshold: float | None = THRESHOLDS[0]
    is_chained_by_groups: bool = False


NO_NEAR = NearCount()


@dataclass(frozen=True, slots=True)
class Splits:
    """The three splits, and the examples left out of them.

    Attributes:
        train: the examples for training.
        validation: those for selecting the best state.
        test: those for measuring results.
        dropped: the examples left out, with reasons.
        near: the near-duplicates among all that were split.
    """

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    dropped: tuple[Dropped, ...] = ()
    near: NearCount = NO_NEAR


def split(
    train: Iterable[Example],
    held_out: Mapping[SplitName, Iterable[Example]],
    fractions: Fractions,
    seed: int,
    advance: Callable[[], object] = lambda: None,
    near: FindNear = unlinked_texts,
) -> Splits:
    """The splits of the data, without leakage.

    A unit is assigned to one split as a whole. It is a group, or an example without one; groups and
    examples that hold near-duplicates of each other are one unit. The order of the rows changes
    nothing. If the answers are no classes, a hash of (seed, name of the unit) decides, so other
    rows do not move a unit, unless there are so few units that a split would be empty (it then gets
    the nearest one). With classes, each class is divided by the order of these hashes, so a new row
    can move units of its class whose hash is near the border (see `hold_out`). A new row that is a
    near-duplicate in two units makes them one, which can move both: the unit has the least of its
    groups' names.

    Examples of ``train`` whose prompt or group is held out are dropped, never the held-out ones;
    the given test split is unchanged. Near-duplicates of given examples are kept and counted.

    Only an identical prompt with an identical answer is a duplicate, of which one is kept. Examples
    whose prompts differ only in case, white space or Unicode forms are all kept, in one split and
    as one group. Near-duplicates in one split have one group as well: they are one observation.
    Several answers to one open question become the references of one example in the test split.

    Args:
        train: the examples for training, from which missing splits are taken. Their ids are unique.
        held_out: splits with their own data.
        fractions: the shares of groups for the others.
        seed: the run's seed.
        advance: called for each example of ``train`` that is compared with the others.
        near: finds near-duplicates among texts. The first are taken that put no more than half of
            the examples into one unit.

    Returns:
        Splits whose order depends only on seed and content.
    """
    pool, dropped = _without_duplicates(train, advance)
    parts: dict[SplitName, list[_Keyed]] = {name: [] for name in SPLITS}
    parts |= {name: _keyed(examples) for name, examples in held_out.items()}
    everything = [item for items in (pool, *parts.values()) for item in items]
    texts = [compared_text(item.example) for item in everything]
    joined = join_groups([item.group for item in everything], near(texts))
    names = [joined.units[item.group] for item in pool]
    chosen = hold_out(
        units_of(names, [item.example for item in pool]),
        0.0 if "test" in held_out else fractions.test,
        0.0 if "validation" in held_out else fractions.validation,
        seed,
    )
    for name, item in zip(names, pool, strict=True):
        parts[_home(name, chosen)].append(item)
    for name, over in _PRECEDENCE:
        parts[name], leaks = _without_leaks(parts[name], parts[over], over)
        dropped += leaks
    near_count = _near_count(everything, joined, parts)
    parts["test"] = _with_references(parts["test"])
    ordered = {
        name: _shuffled(_grouped(part, joined.units), seed, name) for name, part in parts.items()
    }
    return Splits(**ordered, dropped=tuple(dropped), near=near_count)


def near_warnings(near: NearCount) -> Iterator[str]:
    """Warnings about near-duplicates that could not be kept together."""
    if near.examples and near.threshold != THRESHOLDS[0]:
        kept = (
            "none are kept together"
            if near.threshold is None
            else f"only those with a similarity of {near.threshold:g} or more are kept together, "
            f"not of {THRESHOLDS[0]:g}"
        )
        through, way = (
            (" through data.group", "; without data.group all would be")
            if near.is_chained_by_groups
            else ("", "")
        )
        yield (
            f"near-duplicates would chain more than half of the rows into one group{through}, so "
            f"{kept}{way}"
        )
    if near.leaked:
        have = "example has" if near.leaked == 1 else "examples have"
        yield (
            f"{near.leaked:,} validation and test {have} near-duplicates in the training data, so "
            "scores on them may be too good"
        )


def lost_warnings(unusable: int, dropped: Sequence[Dropped], read: int) -> Iterator[str]:
    """A warning if more than a fifth of the rows are lost, with what may be wrong.

    Args:
        unusable: number of rows of which no example could be made.
        dropped: the examples that are left out of the splits.
        read: number of examples, those that are left out among them.
    """
    lost, rows = unusable + len(dropped), unusable + read
    if lost <= _MOST_LOST * rows:
        return
    advice = (
        "if they should differ, the question lacks a column that tells them apart: add it to the "
        "task's prompt"
        if sum(item.reason == DUPLICATE for item in dropped) > lost / 2
        else "the reasons are above"
    )
    yield f"{lost:,} of {rows:,} rows ({lost / rows:.0%}) are left out; {advice}"


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


def _home(unit: str, chosen: HeldOut) -> SplitName:
    if unit in chosen.test:
        return "test"
    return "validation" if unit in chosen.validation else "train"


def _near_count(
    items: Sequence[_Keyed], joined: JoinedGroups, parts: Mapping[SplitName, Sequence[_Keyed]]
) -> NearCount:
    """The near-duplicates among the items, and how many of the parts leak."""
    homes = {id(item): name for name, part in parts.items() for item in part}
    leaked = 0
    groups = joined.all.members
    for members in groups:
        split_in = Counter(homes.get(id(items[index])) for index in members)
        if split_in["train"]:
            leaked += split_in["validation"] + split_in["test"]
    pair = groups[0][:2] if groups else ()
    return NearCount(
        examples=joined.all.num_texts,
        groups=len(groups),
        pair=tuple(items[index].example.where for index in pair),
        leaked=leaked,
        threshold=joined.kept.threshold,
        is_chained_by_groups=joined.is_chained_by_groups,
    )


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


def _grouped(items: Sequence[_Keyed], units: Mapping[str, str]) -> list[Example]:
    """The examples, with those of one unit as one group."""
    counts = Counter(units[item.group] for item in items)
    joined = Counter(units[group] for group in units)
    return [
        replace(item.example, group=unit)
        if counts[unit] > 1 and (joined[unit] > 1 or not item.example.group)
        else item.example
        for item in items
        for unit in (units[item.group],)
    ]


def _shuffled(examples: Sequence[Example], seed: int, name: SplitName) -> tuple[Example, ...]:
    """The examples sorted by a hash, so that a new one does not move the others."""
    return tuple(sorted(examples, key=lambda example: derive(seed, "draw", name, example.id)))
