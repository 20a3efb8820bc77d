"""What a result was made from, and what differs."""

from __future__ import annotations

from luthier.core.input_fingerprint import describe_differences, inputs_fingerprint

BEFORE = {"train": {"epochs": 3, "schedule": "cosine"}, "seed": 0, "content": {"model": "a"}}


def test_each_value_that_differs_is_named() -> None:
    now = {"train": {"epochs": 5, "schedule": "cosine"}, "content": {"model": "a", "data": None}}
    assert describe_differences(BEFORE, now).splitlines() == [
        "  train.epochs: 3 before, 5 now",
        "  seed: 0 before, nothing now",
        "  content.data: nothing before, null now",
    ]


def test_many_differences_are_counted() -> None:
    lines = describe_differences({}, {str(n): n for n in range(20)}).splitlines()
    assert len(lines) == 13
    assert lines[-1] == "  … and 8 more"


def test_the_order_of_keys_does_not_matter() -> None:
    assert inputs_fingerprint(BEFORE) == inputs_fingerprint(dict(reversed(BEFORE.items())))
    assert inputs_fingerprint(BEFORE) != inputs_fingerprint(BEFORE | {"seed": 1})
