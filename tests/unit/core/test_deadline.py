"""One limit for many steps."""

from __future__ import annotations

import time

import pytest

from luthier.core.deadline import Deadline


def test_what_is_left_shrinks_and_ends() -> None:
    deadline = Deadline(0.2)
    first = deadline.left()
    assert 0 < first <= 0.2
    time.sleep(0.05)
    assert deadline.left() < first
    time.sleep(0.2)
    with pytest.raises(TimeoutError, match=r"timed out after 0\.2 s"):
        deadline.left()


def test_work_without_a_limit_gets_one() -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError, match="timed out"):
        Deadline(0.1).call(lambda: time.sleep(60))
    assert time.monotonic() - started < 30


def test_what_work_gives_or_raises_comes_back() -> None:
    assert Deadline(60).call(lambda: None) is None
    assert Deadline(60).call(lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        Deadline(60).call(lambda: 1 // 0)
