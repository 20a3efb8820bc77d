"""An answer shows itself in a line."""

from __future__ import annotations

from luthier.records.prediction import Answer


def test_an_answer_shows_its_probabilities_the_highest_first() -> None:
    answer = Answer(text="dock", probabilities={"bench": 0.30208, "dock": 0.69792})
    assert repr(answer) == "<Answer 'dock': dock 0.698, bench 0.302>"
    assert str(answer) == "dock"
    hostile = Answer(text="a", probabilities={"\x1b[2J": 1.0})
    assert "\x1b" not in repr(hostile)
    assert repr(Answer(text="a\x1b[2Jb")) == "<Answer 'a\\x1b[2Jb'>"
