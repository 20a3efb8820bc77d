from __future__ import annotations

import random
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.example import Example, Message
from luthier.data.near_duplicates import (
    THRESHOLDS,
    NearDuplicates,
    compared_text,
    find_near_duplicates,
    linked_texts,
)

WORDS = ["order", "parcel", "late", "invoice", "refund", "card", "error", "login", "phone", "desk"]
TICKETS = [
    "I lost my phone and cannot get the second factor. How can I get back into my account?",
    "Order 26226 should have arrived on October 2. The tracking page has not changed for a week.",
    "My company card was declined again when paying invoice 70018. The bank says all is fine.",
    "When I export the report to CSV I only get the header row, no data. It worked last week.",
]


def shingles(text: str) -> set[str]:
    words = re.findall(r"[^\W_]+", text.casefold())
    return {*words, *(f"{one} {other}" for one, other in pairwise(words))}


def members(found: NearDuplicates) -> list[list[int]]:
    return [list(group) for group in found.members]


def brute_force(texts: list[str]) -> dict[int, int]:
    """Connected components of all pairs, without what more than half of the texts contain."""
    sets = [shingles(text) for text in texts]
    common = {one for own in sets for one in own if 2 * sum(one in o for o in sets) > len(sets)}
    rest = [own - common for own in sets]
    label = {index: index for index in range(len(texts))}
    for i in range(len(texts)):
        for j in range(i):
            shared = len(rest[i] & rest[j])
            equal = texts[i].split() == texts[j].split()
            if equal or (shared and shared >= THRESHOLDS[0] * len(rest[i] | rest[j])):
                old, new = label[i], label[j]
                label = {k: new if v == old else v for k, v in label.items()}
    return label


def partition(labels: list[int]) -> set[frozenset[int]]:
    return {frozenset(i for i, v in enumerate(labels) if v == one) for one in labels}


TEXTS = st.lists(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join), max_size=25
)


@given(TEXTS)
def test_groups_are_those_of_all_pairs(texts: list[str]) -> None:
    loosest = next(linked_texts(texts))
    assert partition(list(loosest.groups_N)) == partition(list(brute_force(texts).values()))


@given(TEXTS, st.randoms(use_true_random=False))
def test_the_order_of_texts_does_not_matter(texts: list[str], shuffle: random.Random) -> None:
    order = list(range(len(texts)))
    shuffle.shuffle(order)
    before = find_near_duplicates(texts).groups_N
    after = find_near_duplicates([texts[index] for index in order]).groups_N
    back = [after[order.index(index)] for index in range(len(texts))]
    assert partition(list(before)) == partition(back)


def test_a_greeting_a_number_and_a_month_make_no_other_text() -> None:
    other = [
        f"Hello, {TICKETS[0]} No rush.",
        TICKETS[1].replace("26226", "31805").replace("October 2", "May 7"),
        f"Dear support, {TICKETS[2].replace('70018', '84967')}",
        TICKETS[3].replace("report", "März report"),
    ]
    assert members(find_near_duplicates(TICKETS + other)) == [[0, 4], [1, 5], [2, 6], [3, 7]]


def test_the_frame_of_a_task_makes_no_near_duplicates() -> None:
    frame = "Ticket: {} Which of the teams is responsible for it (billing, account, shipping)?"
    assert members(find_near_duplicates([frame.format(ticket) for ticket in TICKETS])) == []
    assert members(find_near_duplicates([f"Where is parcel {n}?" for n in range(60)])) == []


def test_texts_without_words_of_their_own_are_equal_or_apart() -> None:
    assert members(find_near_duplicates(["🙏", "😡", "🙏", "", " ", "?", "a b"])) == [
        [0, 2],
        [3, 4],
    ]
    assert members(find_near_duplicates([])) == []


def test_scripts_without_spaces_are_compared_too() -> None:
    texts = [
        "我的包裹还没有到请帮我查一下",
        "我的包裹今天还没有到请帮我查",
        "如何重置密码",
        "今天天气很好",
    ]
    assert members(find_near_duplicates(texts)) == [[0, 1]]


def test_a_chain_through_most_of_the_texts_is_cut() -> None:
    """Each text shares four of seven words with the next: one chain, with unlike ends."""
    words = [f"w{n}" for n in range(200)]
    chain = [" ".join(words[start : start + 7]) for start in range(0, 120, 2)]
    assert next(linked_texts(chain)).largest == 60
    found = find_near_duplicates(chain)
    assert found.threshold == 0.6
    assert found.largest == 1


def test_numbers_of_groups_of_a_small_input() -> None:
    found = find_near_duplicates([*TICKETS, TICKETS[0] + " Thanks.", TICKETS[0] + " Please."])
    assert (found.num_groups, found.num_texts, found.largest) == (4, 3, 3)


@pytest.mark.parametrize("count", [6_000])
def test_many_texts_take_wider_bands_and_find_their_copies(count: int) -> None:
    draw = random.Random(0)
    names = [f"word{n}" for n in range(5_000)]
    texts = [" ".join(draw.sample(names, 20)) for _ in range(count)]
    copies = [f"Hello, {text}" for text in texts[:200]]
    found = find_near_duplicates(texts + copies)
    assert members(found) == [[n, count + n] for n in range(200)]


def test_the_compared_text_is_the_prompt_without_the_system_message() -> None:
    turns = (Message("system", "Be kind."), Message("user", "Who?"), Message("assistant", "I."))
    assert compared_text(Example("", turns, ("yes",))) == "Who?\nI."
    assert compared_text(Example("", (), ("Once upon a time",))) == "Once upon a time"
