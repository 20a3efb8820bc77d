from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.errors import UsageError
from luthier.core.example import Example, Message
from luthier.data.identity import prompt_key, with_content_id
from luthier.data.near_duplicates import linked_texts
from luthier.data.splits import (
    DUPLICATE,
    SPLITS,
    Fractions,
    SplitName,
    Splits,
    draw,
    near_warnings,
    split,
    with_unique_ids,
)

Make = Callable[..., Example]
FRACTIONS = Fractions(validation=0.2, test=0.2)


def rows(pairs: list[tuple[int, int]]) -> list[Example]:
    """Examples with prompts and groups of few values, so that both repeat."""
    return [
        Example(
            id=f"id{number}",
            messages=(Message("user", f"prompt {prompt}"),),
            references=(f"answer {number}",),
            group=f"group {group}" if group else "",
            where=f"row {number}",
        )
        for number, (prompt, group) in enumerate(pairs)
    ]


def parts(splits: Splits) -> dict[str, tuple[Example, ...]]:
    return {name: getattr(splits, name) for name in SPLITS}


PAIRS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)), max_size=80)
SEEDS = st.integers(0, 1000)


@given(PAIRS, PAIRS, SEEDS)
def test_nothing_is_in_two_splits(
    pool: list[tuple[int, int]], held_out: list[tuple[int, int]], seed: int
) -> None:
    test = [replace(example, id=f"test {example.id}") for example in rows(held_out)]
    choices: list[dict[SplitName, list[Example]]] = [{}, {"test": test}]
    for given_splits in choices:
        splits = parts(split(rows(pool), given_splits, FRACTIONS, seed))
        for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
            prompts = [{prompt_key(example) for example in splits[name]} for name in (one, other)]
            groups = [{example.group for example in splits[name]} - {""} for name in (one, other)]
            assert not prompts[0] & prompts[1]
            assert not groups[0] & groups[1]


@given(PAIRS, SEEDS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(
    pairs: list[tuple[int, int]], seed: int, shuffle: random.Random
) -> None:
    examples = rows(pairs)
    before = parts(split(examples, {}, FRACTIONS, seed))
    shuffle.shuffle(examples)
    assert parts(split(examples, {}, FRACTIONS, seed)) == before


@given(PAIRS, SEEDS)
def test_every_row_is_somewhere(pairs: list[tuple[int, int]], seed: int) -> None:
    splits = split(rows(pairs), {}, FRACTIONS, seed)
    answers = [text for part in parts(splits).values() for one in part for text in one.references]
    places = [text.replace("answer", "row") for text in answers]
    places += [dropped.where for dropped in splits.dropped]
    assert sorted(places) == sorted(f"row {number}" for number in range(len(pairs)))


@given(PAIRS, SEEDS)
def test_other_rows_do_not_move_a_group(more: list[tuple[int, int]], seed: int) -> None:
    def homes(pairs: list[tuple[int, int]]) -> dict[str, str]:
        splits = parts(split(rows(pairs), {}, FRACTIONS, seed))
        return {e.group: name for name, part in splits.items() for e in part if e.group}

    many_groups = [(100 + number, 100 + number) for number in range(100)]
    before, after = homes(many_groups), homes(many_groups + more)
    assert all(before[group] == after[group] for group in before)


@given(st.integers(3, 20), SEEDS)
def test_no_split_goes_empty_where_there_are_groups_for_all(number: int, seed: int) -> None:
    splits = split(rows([(n, n + 1) for n in range(number)]), {}, Fractions(0.05, 0.05), seed)
    assert all(parts(splits).values())


def test_shares_are_those_asked_for() -> None:
    splits = split(rows([(number, 0) for number in range(5000)]), {}, Fractions(0.1, 0.3), 1)
    assert len(splits.validation) == pytest.approx(500, abs=90)
    assert len(splits.test) == pytest.approx(1500, abs=140)


def test_the_seed_decides() -> None:
    examples = rows([(number, 0) for number in range(100)])
    assert split(examples, {}, FRACTIONS, 1).test != split(examples, {}, FRACTIONS, 2).test


def test_a_leak_is_removed_from_training_and_named(make_example: Make) -> None:
    train = [make_example("Who?", "a"), make_example("who? ", "b"), make_example("What?", "c")]
    train += [make_example("Where?", "d"), make_example("Where?", "d", id="again")]
    splits = split(
        train,
        {"test": [make_example("WHO?", "e")], "validation": [make_example("what?", "f")]},
        FRACTIONS,
        0,
    )
    assert [example.references for example in splits.train] == [("d",)]
    assert len(splits.test) == len(splits.validation) == 1
    assert sorted(dropped.reason for dropped in splits.dropped) == [
        DUPLICATE,
        "the same prompt is in the test split",
        "the same prompt is in the test split",
        "the same prompt is in the validation split",
    ]


def test_a_group_of_the_test_is_not_trained_on(make_example: Make) -> None:
    train = [make_example("a", group="book 1"), make_example("b", group="book 2")]
    test = [make_example("c", group="book 1")]
    splits = split(train, {"test": test, "validation": []}, FRACTIONS, 0)
    assert [example.group for example in splits.train] == ["book 2"]
    assert [dropped.reason for dropped in splits.dropped] == ["its group is in the test split"]


def test_a_given_test_stays_as_it_is(make_example: Make) -> None:
    test = with_unique_ids([make_example("a"), make_example("a"), make_example("b")])
    splits = split([make_example("c")], {"test": test, "validation": test}, FRACTIONS, 0)
    assert sorted(example.id for example in splits.test) == sorted(example.id for example in test)
    assert splits.validation == ()


def test_conversations_that_differ_in_choices_are_not_equal(make_example: Make) -> None:
    one = make_example("a", choices=("x", "y"))
    assert prompt_key(one) != prompt_key(make_example("a", choices=("x", "z")))
    assert prompt_key(one) == prompt_key(make_example(" A\n", "other", choices=("X", "y")))


def test_plain_text_is_its_own_prompt() -> None:
    one, same, other = (Example("", (), (text,)) for text in ("Once  more", "once\nmore", "twice"))
    assert prompt_key(one) == prompt_key(same) != prompt_key(other)


@given(st.integers(0, 50), st.integers(0, 50), SEEDS)
def test_draws_are_nested(few: int, more: int, seed: int) -> None:
    train = split(rows([(n, 0) for n in range(60)]), {}, FRACTIONS, seed).train
    smaller, larger = sorted((few, more))
    assert draw(train, smaller) == draw(train, larger)[:smaller]
    assert draw(train, None) == train


def test_equal_examples_get_ids_of_their_own(make_example: Make) -> None:
    ids = [e.id for e in with_unique_ids([make_example("a"), make_example("b"), make_example("a")])]
    assert ids == ["a|yes", "b|yes", "a|yes-2"]


def test_something_is_left_to_train_on() -> None:
    with pytest.raises(UsageError, match="leave nothing to train on"):
        Fractions(validation=0.5, test=0.5)


def test_equal_rows_of_two_groups_go_where_they_go_in_any_order() -> None:
    rows = [
        with_content_id(
            Example("", (Message("user", f"q{i % 30}"),), ("a",), group=f"g{i}", where=str(i))
        )
        for i in range(60)
    ]
    found = []
    for order in (rows, rows[::-1]):
        splits = split(with_unique_ids(order), {}, Fractions(0.2, 0.3), 0)
        parts = (splits.train, splits.validation, splits.test)
        found.append([[(one.id, one.group) for one in part] for part in parts])
    assert found[0] == found[1]


def near_duplicates() -> list[Example]:
    """Prompts that differ in case, blanks and Unicode form alone."""
    texts = ("x2", "X2", "x\u00b2", " x2", "x2  ", "x\t2", "x 2", "\ufb01ne", "fine", "FINE")
    rows = [Example("", (Message("user", t),), (f"{len(t)}",), where=t) for t in texts]
    return with_unique_ids(map(with_content_id, rows))


@given(SEEDS)
def test_near_duplicates_all_stay_and_share_a_split(seed: int) -> None:
    splits = split(near_duplicates(), {}, FRACTIONS, seed)
    assert splits.dropped == ()
    assert sum(len(part) for part in parts(splits).values()) == len(near_duplicates())
    for part in parts(splits).values():
        for one in part:
            same = [other for other in near_duplicates() if prompt_key(other) == prompt_key(one)]
            assert {other.id for other in same} <= {other.id for other in part}
            assert bool(one.group) == (len(same) > 1)


@given(SEEDS, st.randoms(use_true_random=False))
def test_several_answers_are_kept_and_are_references_in_the_test(
    seed: int, shuffle: random.Random
) -> None:
    rows = [
        Example("", (Message("user", f"q{n % 6}"),), (f"answer {n}",), where=str(n))
        for n in range(48)
    ]
    shuffle.shuffle(rows)
    splits = split(with_unique_ids(map(with_content_id, rows)), {}, FRACTIONS, seed)
    assert splits.dropped == ()
    answers = [text for part in parts(splits).values() for one in part for text in one.references]
    assert sorted(answers) == sorted(f"answer {n}" for n in range(48))
    assert all(len(one.references) == 8 for one in splits.test)
    assert all(len(one.references) == 1 for one in (*splits.train, *splits.validation))
    assert len({one.group for one in splits.train}) == len(splits.train) / 8
    assert len({one.id for one in splits.test}) == len(splits.test)


def test_labels_that_contradict_each_other_are_not_both_right(make_example: Make) -> None:
    test = [make_example("a", label, choices=("yes", "no")) for label in ("yes", "no")]
    splits = split([make_example("b")], {"test": test, "validation": []}, FRACTIONS, 0)
    assert [one.references for one in splits.test] in ([("yes",), ("no",)], [("no",), ("yes",)])
    assert len({one.group for one in splits.test}) == 1


def test_of_equal_examples_the_one_that_weighs_most_stays(make_example: Make) -> None:
    rows = [make_example("a", id=f"{n}", weight=float(n)) for n in (1, 3, 2)]
    for order in (rows, rows[::-1]):
        equal = [replace(one, id="same" if n == 0 else f"same-{n}") for n, one in enumerate(order)]
        splits = split([*equal, make_example("b"), make_example("c")], {}, FRACTIONS, 0)
        weights = [
            one.weight for part in parts(splits).values() for one in part if "a" in one.where
        ]
        assert weights == [3.0]
        assert [dropped.reason for dropped in splits.dropped] == [DUPLICATE] * 2


LATE = "the parcel of order {} should have been here on Monday, where is it now"
OTHERS = ["reset my password", "refund the invoice", "add a colleague", "close my account"]


def near_copies(make_example: Make, groups: str) -> list[Example]:
    copies = [make_example(LATE.format(n), group=group) for n, group in enumerate(groups)]
    return copies + [make_example(text, group=text) for text in OTHERS]


@given(SEEDS)
def test_groups_with_near_duplicates_are_one_unit_and_one_observation(seed: int) -> None:
    def make(prompt: str, group: str) -> Example:
        return Example(prompt, (Message("user", prompt),), (prompt,), group=group, where=prompt)

    splits = split(near_copies(make, "ab"), {}, FRACTIONS, seed, near=linked_texts)
    homes = [name for name, part in parts(splits).items() for one in part if "parcel" in one.id]
    assert len(set(homes)) == 1
    groups = {one.group for part in parts(splits).values() for one in part}
    assert groups == {"group a", *OTHERS}
    assert (splits.near.examples, splits.near.groups, splits.near.leaked) == (2, 1, 0)
    assert list(near_warnings(splits.near)) == []


def test_near_duplicates_of_given_examples_stay_and_are_counted(make_example: Make) -> None:
    train, test = near_copies(make_example, "a"), [make_example(LATE.format(7))]
    splits = split(train, {"test": test, "validation": []}, FRACTIONS, 0, near=linked_texts)
    assert (len(splits.train), len(splits.test), splits.dropped) == (5, 1, ())
    assert splits.near.leaked == 1
    (warning,) = near_warnings(splits.near)
    assert warning.startswith("1 validation and test example has near-duplicates in the training")


def test_groups_that_near_duplicates_would_chain_are_kept_and_said(make_example: Make) -> None:
    """Each customer wrote both kinds of ticket, so all would be one unit."""
    rows = [
        make_example(text.format(n), group=f"customer {n}")
        for n in range(4)
        for text in (LATE, "the card for invoice {} was declined again, says our own bank today")
    ]
    rows += [make_example(text, group=text) for text in OTHERS]
    splits = split(rows, {}, FRACTIONS, 1, near=linked_texts)
    groups = {one.group for part in parts(splits).values() for one in part}
    assert groups == {*OTHERS, *(f"customer {n}" for n in range(4))}
    assert splits.near.threshold is None
    assert splits.near.is_chained_by_groups
    assert "through data.group, so none are kept together" in next(near_warnings(splits.near))
