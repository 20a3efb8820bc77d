from __future__ import annotations

import pytest

from luthier.core.errors import DataError
from luthier.core.example import Example, Message
from luthier.prompts.shots import choose_shots, with_shots


def example(
    index: int, length: int = 10, answer: str = "a", choices: tuple[str, ...] = ()
) -> Example:
    question = Message("user", "q" * length)
    return Example(str(index), (Message("system", "s"), question), (answer,), choices)


OPEN = [example(index, length=10 + index) for index in range(40)]
CLOSED = [
    example(index, answer="xyz"[index % 10 // 8], choices=("x", "y", "z")) for index in range(60)
] + [example(60, answer="z", choices=("x", "y", "z"))]


def test_the_same_seed_chooses_the_same_whatever_the_order() -> None:
    shots = choose_shots(OPEN, 4, 1)
    assert shots == choose_shots(OPEN[::-1], 4, 1)
    assert len({shot.id for shot in shots}) == 4
    assert any(choose_shots(OPEN, 4, seed) != shots for seed in range(2, 5))


def test_fewer_shots_begin_more() -> None:
    for train in (OPEN, CLOSED):
        assert choose_shots(train, 5, 3)[:2] == choose_shots(train, 2, 3)


def test_short_ones_first_and_all_if_needed() -> None:
    assert all(int(shot.id) < 20 for shot in choose_shots(OPEN, 20, 0))
    assert {shot.id for shot in choose_shots(OPEN, 40, 0)} == {shot.id for shot in OPEN}


def test_choices_take_turns() -> None:
    answers = [shot.references[0] for shot in choose_shots(CLOSED, 6, 0)]
    assert sorted(answers[:3]) == ["x", "y", "z"]
    assert sorted(answers[3:5]) == ["x", "y"]  # there is only one z


def test_choices_of_each_row_take_turns_by_place() -> None:
    train = [
        example(n, answer=f"{n}{place}", choices=(f"{n}A", f"{n}B"))
        for n in range(20)
        for place in "AAAB"[n % 4]
    ]
    assert {shot.references[0][-1] for shot in choose_shots(train, 2, 0)} == {"A", "B"}


def test_character_limit_holds_for_all_shots_together() -> None:
    shots = choose_shots(OPEN, 3, 0, max_characters=60)
    assert sum(len(shot.messages[1].content) + 1 for shot in shots) <= 60
    with pytest.raises(DataError, match="3 shots wanted, 0 training examples"):
        choose_shots(OPEN, 3, 0, max_characters=20)


def test_too_few_examples() -> None:
    unusable = [Example("p", (), ("text",)), Example("u", (Message("user", "q"),), ())]
    with pytest.raises(DataError, match="2 shots wanted, 1 training example "):
        choose_shots([*unusable, OPEN[0]], 2, 0)
    assert choose_shots([], 0, 0) == ()


def test_shots_are_earlier_turns_after_the_system_message() -> None:
    asked = Example("x", (Message("system", "mine"), Message("user", "Q?")), ("A",), group="g")
    shown = with_shots(asked, [example(0, 3), example(1, 4, "b")])
    assert [(turn.role, turn.content) for turn in shown.messages] == [
        ("system", "mine"),
        ("user", "qqq"),
        ("assistant", "a"),
        ("user", "qqqq"),
        ("assistant", "b"),
        ("user", "Q?"),
    ]
    assert (shown.id, shown.references, shown.group) == ("x", ("A",), "g")
    assert with_shots(asked, ()) is asked


def test_a_shot_of_several_turns_is_whole() -> None:
    turns = (Message("user", "1"), Message("assistant", "2"), Message("user", "3"))
    shown = with_shots(Example("x", (Message("user", "Q"),), ("A",)), [Example("s", turns, ("4",))])
    assert [turn.content for turn in shown.messages] == ["1", "2", "3", "4", "Q"]


def test_plain_text_takes_no_shots() -> None:
    with pytest.raises(DataError, match="no question"):
        with_shots(Example("p", (), ("text",)), [OPEN[0]])
