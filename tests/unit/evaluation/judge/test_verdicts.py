"""Two verdicts, one in each order, give an outcome."""

from __future__ import annotations

import pytest

from luthier.evaluation.judge.verdicts import WinRate, outcome_of
from luthier.records.evaluation import ModelStamp, SampleRecord, TemplateStamp

JUDGE = ModelStamp(id="judge", parameters=0, dtype="", architecture="")


@pytest.mark.parametrize(
    ("as_second", "as_first", "outcome", "agree"),
    [
        ("second", "first", "win", "yes"),
        ("first", "second", "loss", "yes"),
        ("tie", "tie", "tie", "yes"),
        ("first", "first", "tie", "no"),
        ("second", "second", "tie", "no"),
        ("tie", "first", "tie", "no"),
        ("second", "tie", "tie", "no"),
        (None, "first", "tie", "unread"),
        ("second", None, "tie", "unread"),
    ],
)
def test_a_win_needs_both_orders(as_second: str, as_first: str, outcome: str, agree: str) -> None:
    assert outcome_of(as_second, as_first) == {"outcome": outcome, "agree": agree}  # type: ignore[arg-type]


def test_a_tie_is_half_a_win() -> None:
    samples = [
        SampleRecord(
            id=str(number),
            prompt="",
            prediction="",
            references=(),
            scores={},
            finish="stop",
            extracted={"outcome": outcome},
        )
        for number, outcome in enumerate(["win", "win", "tie", "loss"])
    ]
    metric = WinRate(JUDGE, TemplateStamp(id="t", hash="0"))
    stats = metric.measure(samples)
    assert metric.aggregate(stats.sum(axis=0), 4.0) == 0.625  # type: ignore[arg-type]
    assert metric.signature([]) == "win_rate|judge:judge|template:t@0|swap:both"
