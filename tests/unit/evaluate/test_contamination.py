from __future__ import annotations

from luthier.evaluate.contamination import find_contamination

TEST = [
    ("copied", "Please summarise: the quick brown fox jumps over the lazy dog today."),
    ("clean", "Please summarise: seven wizards quietly mixed their very best potions."),
    ("short", "the quick brown"),
]


def test_shared_runs_are_found_whatever_case_and_punctuation() -> None:
    train = iter(["He wrote: The QUICK brown fox, jumps over the lazy dog.", "and nothing else"])
    found = find_contamination(train, TEST, words=8)
    assert found.ids == ("copied",)
    assert (found.checked, found.share) == (2, 0.5)


def test_a_run_must_be_unbroken() -> None:
    train = ["the quick brown fox jumps", "over the lazy dog"]
    assert find_contamination(train, TEST, words=8).ids == ()
    assert find_contamination(train, TEST, words=5).ids == ("copied",)


def test_the_same_text_in_two_test_examples() -> None:
    twins = [("a", TEST[0][1]), ("b", TEST[0][1])]
    assert find_contamination([TEST[0][1]], twins, words=8).ids == ("a", "b")


def test_nothing_to_check() -> None:
    found = find_contamination(["a b c"], [], words=2)
    assert (found.ids, found.share) == ((), 0.0)
